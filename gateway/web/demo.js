// The demo page: a room chat over pomelo. Routes: room.join {uid}, room.message {name, content}, room.leave; pushes: onMembers {members},
// onNewUser {content}, onMessage {name, content}, onLeave {uid}.

import { connect } from './linkspan.js';

const MAX_LINES = 500;
const MAX_FRAMES = 300;
const NEW_USER = 'New user: ';

const element = (id) => document.getElementById(id);
const decoder = new TextDecoder();

let client = null;
/** Who we are in the room, or null. */
let me = null;
const members = new Map();

// ---- connection

async function address() {
  const given = new URLSearchParams(location.search).get('ws');
  if (given) return given;
  const answer = await fetch('config.json', { cache: 'no-store' });
  const { pomelo_ws: configured } = await answer.json();
  if (!configured) throw new Error('this server has no pomelo WebSocket listener');
  return configured;
}

async function start() {
  problem('');
  element('again').hidden = true;
  status('connecting', 'connecting');
  try {
    const url = await address();
    element('address').textContent = url;
    client = await connect(url, { user: { page: 'demo' }, on: { frame: addFrame } });
  } catch (error) {
    status('closed', 'not connected');
    problem(`Cannot connect: ${error.message}. Trying again.`);
    setTimeout(start, 3000);
    return;
  }
  // For the console: linkspan.request('Echo.JSON', { a: 1 })
  window.linkspan = client;
  status('open', 'connected');
  showForms();
  listen();
}

function listen() {
  client.on('onMembers', ({ members: uids }) => (uids ?? []).forEach(addMember));
  client.on('onNewUser', ({ content }) => joined(String(content)));
  client.on('onLeave', ({ uid }) => left(uid));
  client.on('onMessage', ({ name, content }) => addMessage(String(name), String(content)));
  client.on('disconnect', () => clearMembers());
  client.on('reconnecting', ({ delay }) => status('reconnecting', `connection lost, next try in ${(delay / 1000).toFixed(1)} s`));
  client.on('reconnect', () => {
    status('open', 'connected');
    if (me !== null) join();
  });
  client.on('kick', ({ reason }) => problem(`The server ended this session: ${reason || 'no reason given'}`));
  client.on('close', ({ reason }) => {
    me = null;
    status('closed', reason ? `closed: ${reason}` : 'closed');
    element('again').hidden = false;
    showForms();
  });
}

async function join() {
  clearMembers();
  try {
    await client.request('room.join', { uid: me.uid });
    addMember(me.uid);
    addNotice('You joined the room.');
  } catch (error) {
    me = null;
    problem(`Cannot join: ${error.message}`);
  }
  showForms();
}

function leave() {
  client.notify('room.leave', {});
  me = null;
  clearMembers();
  addNotice('You left the room.');
  showForms();
}

// ---- what is shown

function status(state, text) {
  element('status').dataset.state = state;
  element('status-text').textContent = text;
}

function problem(text) {
  element('problem').textContent = text;
}

function showForms() {
  const inside = me !== null;
  element('join').hidden = inside;
  element('compose').hidden = !inside;
  element('join').querySelector('button').disabled = client?.state !== 'open';
  element(inside ? 'text' : 'name').focus();
}

/** A uid of this page is a name and a mark that keeps equal names apart. */
function nameOf(uid) {
  return String(uid).replace(/~[0-9a-z]{4}$/, '');
}

function addMember(uid) {
  members.set(String(uid), nameOf(uid));
  showMembers();
}

function clearMembers() {
  members.clear();
  showMembers();
}

function joined(content) {
  const uid = content.startsWith(NEW_USER) ? content.slice(NEW_USER.length) : content;
  addMember(uid);
  addNotice(`${nameOf(uid)} joined.`);
}

function left(uid) {
  members.delete(String(uid));
  showMembers();
  addNotice(`${nameOf(uid)} left.`);
}

function showMembers() {
  const items = [...members].map(([uid, name]) => {
    const item = document.createElement('li');
    item.textContent = name;
    item.dataset.initial = [...name][0]?.toUpperCase() ?? '?';
    item.classList.toggle('me', uid === String(me?.uid));
    return item;
  });
  element('members').replaceChildren(...items);
  element('count').textContent = String(items.length);
  element('alone').hidden = items.length > 1;
}

function addMessage(name, content) {
  const who = document.createElement('span');
  who.className = 'who';
  who.textContent = name;
  addLine(name === me?.name ? 'mine' : 'theirs', who, content);
}

function addNotice(text) {
  addLine('notice', text);
}

function addLine(kind, ...content) {
  const line = document.createElement('li');
  line.className = kind;
  line.append(...content);
  append(element('messages'), element('messages'), line, MAX_LINES);
}

function addFrame({ direction, package: kind, message, id, route, failed, body }) {
  const row = document.createElement('tr');
  row.className = `${direction} ${kind}${failed ? ' failed' : ''}`;
  const what = message ? `${message}${id ? ` ${id}` : ''}` : kind;
  const text = decoder.decode(body.subarray(0, 400)) + (body.length > 400 ? ` … ${body.length} bytes` : '');
  for (const value of [new Date().toTimeString().slice(0, 8), direction === 'in' ? '← in' : '→ out', what, route ?? '', text]) {
    row.insertCell().textContent = value;
  }
  append(element('frames').closest('.frames'), element('frames'), row, MAX_FRAMES);
}

/** Appends; drops the oldest; follows only a reader who is at the end. */
function append(view, list, item, most) {
  const atEnd = view.scrollHeight - view.scrollTop - view.clientHeight < 40;
  list.append(item);
  while (list.children.length > most) list.firstElementChild.remove();
  if (atEnd) view.scrollTop = view.scrollHeight;
}

// ---- what is done

element('join').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = element('name').value.trim();
  if (!name || client?.state !== 'open' || me !== null) return;
  problem('');
  sessionStorage.setItem('name', name);
  const mark = Math.floor(Math.random() * 36 ** 4).toString(36).padStart(4, '0');
  me = { name, uid: `${name}~${mark}` };
  join();
});

element('compose').addEventListener('submit', (event) => {
  event.preventDefault();
  const content = element('text').value;
  try {
    client.notify('room.message', { name: me.name, content });
    element('text').value = '';
    problem('');
  } catch (error) {
    problem(`Not sent: ${error.message}`);
  }
});

element('leave').addEventListener('click', () => {
  try {
    leave();
  } catch (error) {
    problem(`Cannot leave: ${error.message}`);
  }
});

element('again').addEventListener('click', start);
element('clear').addEventListener('click', () => element('frames').replaceChildren());
element('heartbeats').addEventListener('change', showHeartbeats);

function showHeartbeats() {
  element('frames').classList.toggle('without-heartbeats', !element('heartbeats').checked);
}

element('name').value = sessionStorage.getItem('name') ?? '';
showHeartbeats();
showForms();
start();
