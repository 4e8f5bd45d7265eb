// The tab of direct messages: the chat dialect, spoken by hand. A user is a number, the last part of the WebSocket's path;
// a message is {type: 1, sender, receiver, content}.

const MAX_LINES = 500;
const SEND = 1;
const RECEIVE = 2;

const element = (id) => document.getElementById(`direct-${id}`);

let socket = null;
let me = '';

async function connect(user) {
  const answer = await fetch('config.json', { cache: 'no-store' });
  const { chat } = await answer.json();
  if (!chat) throw new Error('this server does not serve chat: --chat');
  me = user;
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  socket = new WebSocket(`${scheme}://${location.host}/ws/${user}`);
  socket.onopen = () => {
    notice(`You are ${me}.`);
    show();
  };
  socket.onmessage = ({ data }) => hear(data);
  socket.onclose = ({ code, reason }) => {
    const was = socket.wasOpen;
    socket = null;
    notice(was ? `Disconnected: ${code}${reason ? ` ${reason}` : ''}` : 'No connection: is the number taken?');
    show();
  };
  socket.addEventListener('open', (event) => {
    event.target.wasOpen = true;
  });
}

/** Numbers may be larger than JavaScript can count: they are read as the text they are. */
function numberOf(text, name) {
  return new RegExp(`"${name}":([0-9]+)`).exec(text)?.[1] ?? '?';
}

function hear(text) {
  frame('in', text);
  const { type, content, route } = JSON.parse(text);
  if (type !== SEND && type !== RECEIVE) return;
  line('theirs', route ?? `from ${numberOf(text, 'sender')}`, String(content));
}

function send(to, content) {
  const text = `{"type":${SEND},"sender":${me},"receiver":${to},"content":${JSON.stringify(content)}}`;
  socket.send(text);
  frame('out', text);
  line('mine', `to ${to}`, content);
}

// ---- what is shown

function problem(text) {
  element('problem').textContent = text;
}

function show() {
  const inside = socket?.readyState === WebSocket.OPEN;
  element('connect').hidden = inside;
  element('compose').hidden = !inside;
}

function notice(text) {
  const item = document.createElement('li');
  item.className = 'notice';
  item.textContent = text;
  append(element('messages'), element('messages'), item);
}

function line(kind, about, content) {
  const who = document.createElement('span');
  who.className = 'who';
  who.textContent = about;
  const item = document.createElement('li');
  item.className = kind;
  item.append(who, content);
  append(element('messages'), element('messages'), item);
}

function frame(way, text) {
  const row = document.createElement('tr');
  row.className = way;
  const shown = text.length > 400 ? `${text.slice(0, 400)} … ${text.length} characters` : text;
  for (const value of [new Date().toTimeString().slice(0, 8), way === 'in' ? '← in' : '→ out', shown]) {
    row.insertCell().textContent = value;
  }
  append(element('frames').closest('.frames'), element('frames'), row);
}

/** Appends; drops the oldest; follows only a reader who is at the end. */
function append(view, list, item) {
  const atEnd = view.scrollHeight - view.scrollTop - view.clientHeight < 40;
  list.append(item);
  while (list.children.length > MAX_LINES) list.firstElementChild.remove();
  if (atEnd) view.scrollTop = view.scrollHeight;
}

// ---- what is done

element('connect').addEventListener('submit', (event) => {
  event.preventDefault();
  if (socket !== null) return;
  problem('');
  connect(element('user').value).catch((error) => problem(`Cannot connect: ${error.message}`));
});

element('compose').addEventListener('submit', (event) => {
  event.preventDefault();
  send(element('to').value, element('text').value);
  element('text').value = '';
});

element('leave').addEventListener('click', () => socket?.close(1000));
element('clear').addEventListener('click', () => element('frames').replaceChildren());
show();
