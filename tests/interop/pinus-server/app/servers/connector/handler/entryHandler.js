'use strict';

// Every method of the class is a route.
function push(app, route, body, session) {
  const uids = [{ uid: session.uid, sid: session.frontendId }];
  app.get('channelService').pushMessageByUids(route, body, uids, null, () => {});
}

class EntryHandler {
  constructor(app) {
    this.app = app;
  }

  /** Answers with the body of the request. */
  async echo(body) {
    return body;
  }

  /** Pushes `onEcho` with the body of the notify. */
  async pushMe(body, session) {
    push(this.app, 'onEcho', body, session);
  }

  /** Pushes `onPush` n times, then answers. */
  async pushN({ n }, session) {
    for (let i = 0; i < n; i += 1) push(this.app, 'onPush', { i }, session);
    return { accepted: n, asked: n };
  }

  async bind({ uid }, session) {
    await session.abind(String(uid));
    return { uid };
  }

  /** Ends the session with a Kick package. */
  async kick(_, session) {
    this.app.get('sessionService').kick(session.uid, 'asked for', () => {});
    return {};
  }
}

exports.default = (app) => new EntryHandler(app);
