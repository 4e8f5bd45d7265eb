'use strict';
// A real pinus gateway: one master, which starts one connector. It listens on every interface: start it by with-pinus.sh only.

require('reflect-metadata');
const { pinus } = require('pinus');

const app = pinus.createApp();
app.set('name', 'interop');
app.configure('development', 'connector', () => {
  app.set('connectorConfig', { connector: pinus.connectors.hybridconnector, heartbeat: 1, useDict: true });
});
app.start();
process.on('uncaughtException', (error) => console.error(error));
