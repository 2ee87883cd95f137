// Tries to reach what belongs to others, in every way there is.
import child from 'node:child_process';
import cluster from 'node:cluster';
import dgram from 'node:dgram';
import dns from 'node:dns';
import fs from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import worker from 'node:worker_threads';

const text = (file) => fs.readFileSync(file, 'latin1').slice(0, 4096);

function bound(name, make, act) {
  const binding = process.binding(name);
  const handle = make(binding);
  const code = act(handle, binding);
  if (code >= 0) return `done: ${code}`;
  throw Object.assign(new Error('refused'), { code: os.constants.errno ? String(code) : '' });
}

function ofSpawn(file) {
  return bound('process_wrap', ({ Process }) => new Process(), (it) => it.spawn({ file, args: [file], stdio: [] }));
}

function answered(ask) {
  return new Promise((resolve, reject) => {
    const emitter = ask((error, found) => (error ? reject(error) : resolve(`done: ${found}`)));
    emitter?.on?.('error', reject);
  });
}

export default async function main({ secret, server, sibling, theirs }) {
  const ppid = process.ppid;
  const files = [
    '/etc/passwd', '/etc/shadow', '/etc/hostname', secret, '/proc/self/environ', '/proc/self/maps',
    `/proc/${server}/environ`, `/proc/${ppid}/environ`, `/proc/${sibling}/environ`, '/proc/1/root/etc/passwd',
    '/proc/version', '/sys/kernel/notes', '/dev/mem', '/dev/kmsg', `/proc/${ppid}/fd/0`,
    `/proc/${sibling}/cwd/secret`, `../../../../../../../../..${secret}`,
  ];
  const ways = {};
  for (const file of files) ways[`read ${file}`] = () => text(file);
  Object.assign(ways, {
    'read theirs': () => (theirs === process.cwd() ? Promise.reject(new Error('the same place')) : text(path.join(theirs, 'secret'))),
    'list theirs': () => {
      if (theirs === process.cwd()) throw new Error('the same place');
      return fs.readdirSync(theirs);
    },
    'symlink': () => {
      fs.symlinkSync(secret, 'link');
      return text('link');
    },
    'folder symlink': () => {
      fs.symlinkSync(path.dirname(secret), 'folder');
      return text(`folder/${path.basename(secret)}`);
    },
    'hard link': () => {
      fs.linkSync(secret, 'hard');
      return text('hard');
    },
    'list': () => fs.readdirSync(path.dirname(secret)),
    'write': () => fs.writeFileSync(secret, 'x'),
    'write beside': () => fs.writeFileSync(path.join(path.dirname(secret), 'new'), 'x'),
    'remove': () => fs.unlinkSync(secret),
    'rename': () => fs.renameSync(secret, 'taken'),
    'chmod': () => fs.chmodSync(secret, 0o777),
    'utimes': () => fs.utimesSync(secret, 0, 0),
    'truncate': () => fs.truncateSync(secret),
    'copy': () => fs.copyFileSync(secret, 'copy'),
    'write to the interpreter': () => fs.openSync(process.execPath, 'r+'),
    'descriptors': () => {
      for (let number = 5; number < 1024; number++) {
        try {
          const stat = fs.fstatSync(number);
          if (stat.isFile()) return `${number}: ${text(number)}`;
        } catch {}
      }
      throw new Error('nothing there');
    },
    'spawn': () => answered((tell) => child.spawn('/bin/true')),
    'spawnSync': () => child.spawnSync('/bin/true'),
    'fork': () => child.fork('/tmp/x.js'),
    'cluster': () => cluster.fork(),
    'process_wrap': () => ofSpawn('/bin/true'),
    'process_wrap of itself': () => ofSpawn(process.execPath),
    'spawn_sync': () => {
      const { error } = process.binding('spawn_sync').spawn({ file: process.execPath, args: ['node', '-v'], stdio: [{ type: 'pipe', readable: true, writable: false }, { type: 'ignore' }, { type: 'ignore' }] });
      if (error < 0) throw new Error(String(error));
      return 'done';
    },
    'worker': () => new worker.Worker('1', { eval: true }) && 'done',
    'net': () => answered((tell) => net.connect(server, '127.0.0.1', tell)),
    'unix': () => answered((tell) => net.connect('/tmp/x.sock', tell)),
    'socket': () => answered((tell) => new net.Socket().connect(80, '1.1.1.1', tell)),
    'listen': () => answered((tell) => net.createServer().listen(0, tell)),
    'tls': () => answered((tell) => tls.connect(443, '1.1.1.1', tell)),
    'http2': () => http2.connect('https://1.1.1.1') && 'done',
    'dgram': () => dgram.createSocket('udp4') && 'done',
    'dns': () => answered((tell) => dns.lookup('example.com', tell)),
    'dns resolve': () => answered((tell) => dns.resolve('example.com', tell)),
    'dns promises': () => dns.promises.lookup('example.com'),
    'tcp_wrap': () => bound(
      'tcp_wrap', ({ TCP, constants }) => new TCP(constants.SOCKET), (it) => it.bind('127.0.0.1', 0)),
    'tcp_wrap connect': () => bound(
      'tcp_wrap', ({ TCP, constants }) => new TCP(constants.SOCKET),
      (it, { TCPConnectWrap }) => it.connect(new TCPConnectWrap(), '127.0.0.1', 80)),
    'pipe_wrap': () => bound(
      'pipe_wrap', ({ Pipe, constants }) => new Pipe(constants.SERVER), (it) => it.bind('sock') || it.listen(1)),
    'udp_wrap': () => bound('udp_wrap', ({ UDP }) => new UDP(), (it) => it.bind('127.0.0.1', 0, 0)),
    'kill server': () => process.kill(server, 'SIGKILL'),
    'kill sibling': () => process.kill(sibling, 'SIGKILL'),
    'kill nursery': () => process.kill(ppid, 'SIGKILL'),
    'kill group': () => process.kill(0, 'SIGKILL'),
    'setuid': () => process.setuid(0),
    'priority': () => os.setPriority(sibling, 19),
    'listen for a debugger': async () => {
      const { open, url } = await import('node:inspector');
      open(0);
      return url();
    },
  });
  const seen = {};
  for (const [way, go] of Object.entries(ways)) {
    try {
      seen[way] = `done: ${await go()}`;
    } catch (error) {
      seen[way] = `refused: ${error.code ?? error.message}`;
    }
  }
  return seen;
}
