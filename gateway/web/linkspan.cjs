'use strict';
// For projects that still use require(); the module itself is ESM.
exports.connect = (...args) => import('./linkspan.js').then((module) => module.connect(...args));
