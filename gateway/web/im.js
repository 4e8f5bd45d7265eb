// The IM tab: OpenIM's protocol from a browser, without any library. Requests are {reqFuncName, operationID, data, userID, batchMsg}, answers and events
// {event, errCode, errMsg, data, operationID}; an answer has the operation id of its request.

const MAX_LINES = 500;
const MAX_FRAMES = 300;
const WEB = 5;

const element = (id) => document.getElementById(id);

/** One connection. `heard(event, data, frame)` gets everything that is no answer to a call of this connection. */
export class ImClient {
  #socket;
  #user;
  #calls = new Map();
  #count = 0;
  #heard;
  #frame;

  constructor(url, user, token, { heard = () => {}, closed = () => {}, frame = () => {} } = {}) {
    this.#user = user;
    this.#heard = heard;
    this.#frame = frame;
    const query = new URLSearchParams({ sendID: user, token, platformID: String(WEB) });
    this.#socket = new WebSocket(`${url}?${query}`);
    this.opened = new Promise((resolve, reject) => {
      this.#socket.onopen = resolve;
      this.#socket.onerror = () => reject(new Error('the server does not let this user in'));
    });
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = ({ code, reason }) => {
      for (const { reject } of this.#calls.values()) reject(new Error('connection closed'));
      this.#calls.clear();
      closed(code, reason);
    };
  }

  /** Calls a function; the promise has its data, or is rejected with its code and text. */
  call(reqFuncName, data = '') {
    const operationID = `${this.#user}-${Date.now()}-${(this.#count += 1)}`;
    const text = typeof data === 'string' ? data : JSON.stringify(data);
    const request = JSON.stringify({ reqFuncName, operationID, data: text, userID: this.#user, batchMsg: 0 });
    return new Promise((resolve, reject) => {
      if (this.#socket.readyState !== WebSocket.OPEN) return reject(new Error('not connected'));
      this.#calls.set(operationID, { resolve, reject });
      this.#frame('out', reqFuncName, text);
      this.#socket.send(request);
    });
  }

  close() {
    this.#socket.close();
  }

  #receive(text) {
    const frame = JSON.parse(text);
    const { event, errCode, errMsg, data, operationID } = frame;
    this.#frame('in', event, errCode === 0 ? data || errMsg : `${errCode} ${errMsg}`);
    const call = this.#calls.get(operationID);
    if (!call) return this.#heard(event, data, frame);
    this.#calls.delete(operationID);
    if (errCode === 0) call.resolve(data);
    else call.reject(Object.assign(new Error(errMsg), { code: errCode }));
  }
}

// ---- the page

let client = null;
let me = '';
/** Who is talked to, and whether they are online. */
const peer = { name: '', online: false };

async function address() {
  const given = new URLSearchParams(location.search).get('ws');
  if (given) return given;
  const answer = await fetch('config.json', { cache: 'no-store' });
  const { im } = await answer.json();
  if (!im) throw new Error('this server has no IM listener');
  return im;
}

async function login(event) {
  event.preventDefault();
  problem('');
  me = element('name').value.trim();
  try {
    const url = await address();
    element('address').textContent = url;
    const token = element('token').value;
    client = new ImClient(url, me, token, { heard, closed, frame: addFrame });
    await client.opened;
    await client.call('Login', { userID: me, token });
  } catch (error) {
    client?.close();
    client = null;
    return problem(`Cannot log in: ${error.message}`);
  }
  // For the console: im.call('GetSelfUserInfo')
  window.im = client;
  status('open', `logged in as ${me}`);
  show();
}

async function talk(event) {
  event.preventDefault();
  problem('');
  if (peer.name) await client.call('UnsubscribeUsersStatus', [peer.name]);
  peer.name = element('peer').value.trim();
  peer.online = false;
  element('messages').replaceChildren();
  try {
    await client.call('SubscribeUsersStatus', [peer.name]);
    const asked = { userID: peer.name, groupID: '', startClientMsgID: '', count: 50 };
    JSON.parse(await client.call('GetHistoryMessageList', asked)).forEach(addMessage);
  } catch (error) {
    problem(`Cannot talk to ${peer.name}: ${error.message}`);
  }
  show();
}

async function send(event) {
  event.preventDefault();
  const field = element('text');
  const text = field.value;
  field.value = '';
  try {
    const message = await client.call('CreateTextMessage', text);
    const data = { message, recvID: peer.name, groupID: '', offlinePushInfo: '' };
    addMessage(JSON.parse(await client.call('SendMessage', data)));
  } catch (error) {
    problem(`Not sent: ${error.message}`);
  }
}

function heard(event, data, { errMsg }) {
  if (event === 'OnRecvNewMessage') {
    const message = JSON.parse(data);
    if (message.contentType !== 113) receive(message);
  } else if (event === 'OnUserStatusChanged') {
    const { userID, status: now } = JSON.parse(data);
    if (userID === peer.name) peer.online = now === 1;
    show();
  } else if (event === 'OnKickedOffline') {
    problem(`The server ended this session: ${errMsg}`);
  } else if (event === 'SendMessage') {
    // Another tab of this user has sent it.
    const message = JSON.parse(data);
    if (message.recvID === peer.name) addMessage(message);
  }
}

function receive(message) {
  if (message.sendID === peer.name) return addMessage(message);
  problem(`${message.sendID} has written to you: ${message.content}`);
}

function closed(code, reason) {
  client = null;
  peer.name = '';
  status('closed', `closed: ${code}${reason ? ` ${reason}` : ''}`);
  show();
}

async function logout() {
  await client?.call('Logout').catch(() => {});
  client?.close();
}

function show() {
  const inside = client !== null;
  element('login').hidden = inside;
  element('talk').hidden = !inside;
  element('compose').hidden = !inside || !peer.name;
  element('presence').textContent = peer.name && `${peer.name} is ${peer.online ? 'online' : 'offline'}.`;
  element('presence').dataset.online = String(peer.online);
}

function status(state, text) {
  element('status').dataset.state = state;
  element('status-text').textContent = text;
}

function problem(text) {
  element('problem').textContent = text;
}

function addMessage({ sendID, content }) {
  const line = document.createElement('li');
  const name = document.createElement('strong');
  name.textContent = sendID;
  line.className = sendID === me ? 'mine' : '';
  line.append(name, ' ', content);
  const list = element('messages');
  list.append(line);
  if (list.children.length > MAX_LINES) list.firstElementChild.remove();
  list.scrollTop = list.scrollHeight;
}

function addFrame(way, name, data) {
  const row = document.createElement('tr');
  for (const text of [new Date().toTimeString().slice(0, 8), way, name, data.slice(0, 300)]) {
    const cell = document.createElement('td');
    cell.textContent = text;
    row.append(cell);
  }
  row.className = way;
  const rows = element('frames');
  rows.prepend(row);
  if (rows.children.length > MAX_FRAMES) rows.lastElementChild.remove();
}

element('login').addEventListener('submit', login);
element('talk').addEventListener('submit', talk);
element('compose').addEventListener('submit', send);
element('logout').addEventListener('click', logout);
status('closed', 'not logged in');
show();
