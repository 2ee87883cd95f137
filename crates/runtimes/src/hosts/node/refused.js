// Puts words to what the walls refuse.
//
// Nothing here is a wall: what it names is refused by the kernel in any case, or cannot be bounded here.
'use strict';

const { syncBuiltinESMExports } = require('node:module');

const NO_PROCESS =
  'a function may start no process; what it needs has to be a module of its own, or another service';
const NO_THREAD =
  'a function has one thread of JavaScript; do things at once with promises, or call another function';
const NO_SOCKET =
  'a function opens no connections of its own, so no sockets, SMTP or database servers; make HTTP ' +
  'requests with fetch, node:http(s) or client.http (network: "egress"), mail too through a ' +
  "provider's HTTP interface";
const NO_NAMES = `names are looked up by the server alone: ${NO_SOCKET}`;

const REFUSED = [
  ['node:child_process', NO_PROCESS, ['exec', 'execFile', 'execFileSync', 'execSync', 'fork', 'spawn', 'spawnSync']],
  ['node:cluster', NO_PROCESS, ['fork']],
  ['node:worker_threads', NO_THREAD, ['Worker']],
  ['node:net', NO_SOCKET, ['connect', 'createConnection', 'createServer']],
  ['node:tls', NO_SOCKET, ['connect', 'createServer']],
  ['node:dgram', NO_SOCKET, ['createSocket']],
  ['node:http2', NO_SOCKET, ['connect', 'createServer', 'createSecureServer']],
  ['node:http', NO_SOCKET, ['createServer']],
  ['node:https', NO_SOCKET, ['createServer']],
  ['node:inspector', NO_SOCKET, ['open']],
];

function failure(words, what) {
  const error = new Error(`${what}: ${words}`);
  error.code = 'EPERM';
  return error;
}

function refuser(words, what) {
  return function refused() {
    throw failure(words, what);
  };
}

/** Once, before any function is loaded. */
function prepare() {
  for (const [name, words, refused] of REFUSED) {
    const module = require(name);
    const short = name.slice('node:'.length);
    for (const what of refused) module[what] = refuser(words, `${short}.${what}`);
  }
  const { Socket, Server } = require('node:net');
  Socket.prototype.connect = refuser(NO_SOCKET, 'net.Socket.connect');
  Server.prototype.listen = refuser(NO_SOCKET, 'net.Server.listen');
  refuseNames();
  syncBuiltinESMExports();
}

/** Whoever looks a name up is told as they expect it: by a callback, or a promise. */
function refuseNames() {
  const dns = require('node:dns');
  const asks = (name) => /^(lookup|resolve|reverse)/.test(name);
  const told = (what) => function refused(...args) {
    const error = Object.assign(failure(NO_NAMES, what), { code: 'ENOTFOUND', syscall: what });
    const tell = args.at(-1);
    if (typeof tell !== 'function') throw error;
    process.nextTick(tell, error);
  };
  const promised = (what) => async function refused() {
    throw Object.assign(failure(NO_NAMES, what), { code: 'ENOTFOUND', syscall: what });
  };
  for (const owner of [dns, dns.Resolver.prototype]) {
    for (const name of Object.getOwnPropertyNames(owner).filter(asks)) owner[name] = told(name);
  }
  for (const owner of [dns.promises, dns.promises.Resolver.prototype]) {
    for (const name of Object.getOwnPropertyNames(owner).filter(asks)) owner[name] = promised(name);
  }
}

module.exports = { prepare };
