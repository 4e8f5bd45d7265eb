'use strict';
// OpenIM's web client (npm open-im-sdk 2.3.0) against the IM listener: login, conversations, 1,000 messages in order, devices, kick, reconnect,
// logout. Usage: node im.js ADDRESS ADDRESS-WITH-POLICY-1   (both with --im-token static: and the tokens tok-NAME of im-tokens.txt)

const { WebSocket } = require('ws');
const { address, check, equal, run, sleep, until, within } = require('./lib.js');

// What the client finds in a browser.
globalThis.WebSocket = WebSocket;
globalThis.window = { navigator: { onLine: true }, URL: { createObjectURL: () => '', revokeObjectURL: () => {} } };
/** The client beats with a worker that posts every ten seconds; this one is quicker. */
globalThis.Worker = class {
  constructor() {
    this.timer = setInterval(() => this.onmessage?.(), 200);
  }
  terminate() {
    clearInterval(this.timer);
  }
};
const log = console.log;
const { OpenIMSDK, CbEvents } = require('open-im-sdk');

/** One tab of a user. */
async function login(ws, userID, platformID = 5, { isBatch = false, token = `tok-${userID}` } = {}) {
  const sdk = new OpenIMSDK();
  const tab = { sdk, heard: [], other: [], kicked: [], conversations: [] };
  const message = ({ data }) => tab.heard.push(...[JSON.parse(data)].flat());
  sdk.on(CbEvents.ONRECVNEWMESSAGE, message);
  sdk.on(CbEvents.ONRECVNEWMESSAGES, message);
  sdk.on(CbEvents.ONRECVNEWMESSAGEFROMOTHERWEB, ({ data }) => tab.other.push(JSON.parse(data)));
  sdk.on(CbEvents.ONNEWCONVERSATION, ({ data }) => tab.conversations.push(...JSON.parse(data)));
  sdk.on(CbEvents.ONKICKEDOFFLINE, ({ errMsg }) => tab.kicked.push(errMsg));
  const answer = await within(sdk.login({ userID, token, platformID, url: ws, isBatch }), 5000, `login of ${userID}`);
  equal([answer.event, answer.errCode], ['Login', 0], `login of ${userID}`);
  return tab;
}

async function refused(ws, userID, token, what) {
  const answer = await new OpenIMSDK().login({ userID, token, platformID: 5, url: ws }).then(
    () => null,
    (error) => error,
  );
  check(answer !== null && answer.errCode !== 0, `${what} is let in`);
}

async function send(tab, recvID, text) {
  const { data: message } = await tab.sdk.createTextMessage(text);
  const sent = await tab.sdk.sendMessage({ recvID, groupID: '', offlinePushInfo: '', message });
  return JSON.parse(sent.data);
}

const end = (tab) => {
  tab.sdk.logoutFlag = true;
  tab.sdk.ws?.close();
};

async function whoIsWho(ws) {
  await refused(ws, 'ann', 'nonsense', 'a wrong token');
  await refused(ws, 'ann', 'tok-bob', 'the token of another user');
  const ann = await login(ws, 'ann');
  equal(JSON.parse((await ann.sdk.getSelfUserInfo()).data).userID, 'ann', 'self');
  equal((await ann.sdk.getLoginUser()).data, 'ann', 'login user');
  equal((await ann.sdk.getLoginStatus()).data, '101', 'login status');
  const users = JSON.parse((await ann.sdk.getUsersInfo(['bob', 'cat'])).data);
  equal(users.map((user) => user.publicInfo.userID), ['bob', 'cat'], 'users');
  equal(JSON.parse((await ann.sdk.getAllConversationList()).data), [], 'no conversation yet');
  const unknown = await ann.sdk.getFriendList().catch((error) => error);
  equal([unknown.errCode, unknown.errMsg], [1001, 'Request Parameter Error'], 'a function that is not there');
  end(ann);
}

async function thousand(ws) {
  const [ann, bob] = [await login(ws, 'ann'), await login(ws, 'bob')];
  const count = 500;
  // Each side sends its half without waiting for the other.
  await Promise.all(
    [
      [ann, 'bob', 'a'],
      [bob, 'ann', 'b'],
    ].map(async ([tab, peer, letter]) => {
      for (let number = 0; number < count; number += 1) await send(tab, peer, `${letter}${number} <&> \u2028 ü`);
    }),
  );
  await until(() => ann.heard.length >= count && bob.heard.length >= count, 'a thousand messages', 20_000);
  const texts = (letter) => [...Array(count).keys()].map((number) => `${letter}${number} <&> \u2028 ü`);
  equal(bob.heard.map((one) => one.content), texts('a'), 'what ann has sent');
  equal(ann.heard.map((one) => one.content), texts('b'), 'what bob has sent');
  check(ann.heard.every((one) => one.sendID === 'bob' && one.status === 2), 'who has sent');
  const [conversation] = JSON.parse((await ann.sdk.getAllConversationList()).data);
  equal([conversation.userID, conversation.conversationType], ['bob', 1], 'the conversation');
  check(ann.conversations.length === 1 && bob.conversations.length === 1, 'both were told of it');
  const asked = { userID: 'bob', groupID: '', startClientMsgID: '', count: 20 };
  const last = JSON.parse((await ann.sdk.getHistoryMessageList(asked)).data);
  check(last.length === 20 && last.every((one, at) => at === 0 || one.seq === last[at - 1].seq + 1), 'the history');
  const before = JSON.parse((await ann.sdk.getHistoryMessageList({ ...asked, startClientMsgID: last[0].clientMsgID })).data);
  equal(before[19].seq, last[0].seq - 1, 'the history before');
  await bob.sdk.typingStatusUpdate({ recvID: 'ann', msgTip: 'yes' });
  await until(() => ann.heard.at(-1).contentType === 113, 'that bob types');
  const custom = await ann.sdk.createCustomMessage({ data: '{"a":1}', extension: 'e', description: 'd' });
  await ann.sdk.sendMessageNotOss({ recvID: 'bob', groupID: '', offlinePushInfo: '', message: custom.data });
  await until(() => bob.heard.at(-1).contentType === 110, 'a custom message');
  equal(bob.heard.at(-1).customElem.data, '{"a":1}', 'what is in it');
  end(ann);
  end(bob);
}

async function tabs(ws) {
  const [first, second, bob] = [await login(ws, 'ann'), await login(ws, 'ann'), await login(ws, 'bob', 5, { isBatch: true })];
  await send(first, 'bob', 'from the first');
  await until(() => second.other.length === 1, 'the other tab hears of it');
  equal([second.other[0].content, first.other.length], ['from the first', 0], 'the other tab');
  await until(() => bob.heard.length === 1, 'a list of one');
  await send(bob, 'ann', 'to both');
  await until(() => first.heard.length === 1 && second.heard.length === 1, 'both tabs');
  // One logs out, the other stays.
  equal((await first.sdk.logout()).errCode, 0, 'logout');
  await send(bob, 'ann', 'to one');
  await until(() => second.heard.length === 2, 'the tab that stayed');
  equal(first.heard.length, 1, 'the tab that has logged out');
  end(second);
  end(bob);
}

async function reconnect(ws) {
  const [ann, bob] = [await login(ws, 'ann'), await login(ws, 'bob')];
  const old = ann.sdk.ws;
  old.terminate();
  await until(() => ann.sdk.ws !== undefined && ann.sdk.ws !== old && ann.sdk.ws.readyState === 1, 'the client comes back', 10_000);
  await until(() => Object.keys(ann.sdk.ws2promise).length === 0, 'and logs in', 10_000);
  await send(bob, 'ann', 'again');
  await until(() => ann.heard.length === 1, 'it hears again');
  equal((await ann.sdk.getLoginStatus()).data, '101', 'status after the reconnect');
  end(ann);
  end(bob);
}

async function devices(ws) {
  const [web, phone] = [await login(ws, 'cat', 5), await login(ws, 'cat', 1)];
  const newer = await login(ws, 'cat', 5, { token: 'tok-cat-2' });
  await until(() => web.kicked.length === 1, 'the older browser is told');
  equal(web.kicked, ['replaced by another device'], 'why');
  end(web);
  await sleep(50);
  equal([phone.sdk.ws.readyState, newer.sdk.ws.readyState], [1, 1], 'the phone and the newer browser stay');
  // The same login, come back, displaces nobody.
  const again = await login(ws, 'cat', 5, { token: 'tok-cat-2' });
  await sleep(50);
  equal([newer.kicked, newer.sdk.ws.readyState], [[], 1], 'a second tab of the same login');
  for (const tab of [phone, newer, again]) end(tab);
}

run(120, async () => {
  // The client talks to the console at every step.
  console.log = () => {};
  const [{ ws }, strict] = [address(), address(process.argv[3])];
  await whoIsWho(ws);
  await thousand(ws);
  await tabs(ws);
  await reconnect(ws);
  await devices(strict.ws);
  console.log = log;
});
