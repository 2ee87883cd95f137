// What a function logs and prints, line by line and within limits.
//
// Must cost little once a limit is reached: a function may go on printing for ever.
'use strict';

const { Buffer } = require('node:buffer');
const { Console } = require('node:console');
const fs = require('node:fs');
const { Writable } = require('node:stream');
const { StringDecoder } = require('node:string_decoder');
const { inspect } = require('node:util');

const { readSync, writeSync } = fs;
const toJson = JSON.stringify;
const now = Date.now;

// The journal is memory shared with the server: the newest log lines, then of each stream what was
// written after the last end of a line. Each is a ring: how many bytes were written in all, when the
// first was, and the newest of them.
const RING_HEAD = 16;
const LINES_BYTES = 252 * 1024;
const REST_BYTES = 2048;
const STREAMS = [['stdout', 'INFO'], ['stderr', 'ERROR']];
const LEVELS = {
  debug: 'DEBUG', info: 'INFO', warning: 'WARNING', warn: 'WARNING',
  error: 'ERROR', critical: 'ERROR', fatal: 'ERROR',
};

/** Thrown inside the function once it has logged more than it may. */
class OutputLimit extends Error {
  name = 'OutputLimit';
}

/** The newest bytes of something, in memory shared with the server. */
class Ring {
  total = 0;
  #head = Buffer.alloc(RING_HEAD);

  constructor(descriptor, start, size) {
    this.descriptor = descriptor;
    this.start = start;
    this.first = start + RING_HEAD;
    this.size = size - RING_HEAD;
  }

  put(data) {
    if (this.total === 0) this.#head.writeBigUInt64LE(BigInt(now()) * 1000n, 8);
    const total = this.total + data.length;
    if (data.length > this.size) data = data.subarray(data.length - this.size);
    const at = (total - data.length) % this.size;
    const room = this.size - at;
    writeSync(this.descriptor, data, 0, Math.min(room, data.length), this.first + at);
    if (data.length > room) {
      writeSync(this.descriptor, data, room, data.length - room, this.first);
    }
    this.total = total;
    this.#writeHead();
  }

  clear() {
    if (this.total === 0) return;
    this.total = 0;
    this.#writeHead();
  }

  #writeHead() {
    this.#head.writeBigUInt64LE(BigInt(this.total), 0);
    writeSync(this.descriptor, this.#head, 0, RING_HEAD, this.start);
  }
}

/** What is written to descriptor 1 or 2 by whatever does not use this host's streams: a file in memory
 * that the server sees too, and that is full at a fixed size. */
class Native {
  #at = 0;
  #byte = Buffer.alloc(1);

  constructor(descriptor, name, level) {
    Object.assign(this, { descriptor, name, level });
  }

  isWritten() {
    return readSync(this.descriptor, this.#byte, 0, 1, this.#at) === 1 && this.#byte[0] !== 0;
  }

  /** What was written since the last time, which is then there no more. */
  take() {
    const parts = [];
    for (;;) {
      const part = Buffer.alloc(65536);
      const length = readSync(this.descriptor, part, 0, part.length, this.#at);
      const zero = part.subarray(0, length).indexOf(0);
      const end = zero < 0 ? length : zero;
      if (end > 0) {
        writeSync(this.descriptor, Buffer.alloc(end), 0, end, this.#at);
        parts.push(part.subarray(0, end));
        this.#at += end;
      }
      if (end < part.length) return { text: Buffer.concat(parts).toString(), full: zero < 0 };
    }
  }
}

/** The log lines of the call that runs, encoded as they come. They are also written to the journal,
 * which the server reads only when the worker ended without an answer. */
class Logs {
  maxBytes = 0;
  maxLines = 0;
  running = false;
  exceeded = null;
  // Nothing more may be written to a descriptor.
  full = false;

  constructor(journal) {
    this.ring = new Ring(journal, 0, LINES_BYTES);
    this.natives = STREAMS.map(([name, level], at) => new Native(at + 1, name, level));
    this.streams = STREAMS.map(([name, level], at) => {
      const ring = new Ring(journal, LINES_BYTES + at * REST_BYTES, REST_BYTES);
      return new LogStream(this, at + 1, name, level, ring);
    });
    this.begin();
  }

  /** Opens the logs, empty: before the module is loaded, and before a later call. */
  begin() {
    this.lines = [];
    this.bytes = 0;
    this.exceeded = null;
    this.open = true;
  }

  add(level, logger, message) {
    if (!this.open) {
      if (this.exceeded !== null) this.stop();
      return;
    }
    message = message.toWellFormed();
    let size = Buffer.byteLength(message);
    const room = this.maxBytes - this.bytes;
    if (size > room) {
      message = new StringDecoder('utf8').write(Buffer.from(message).subarray(0, room));
      size = room;
      this.exceeded = `more than ${amount(this.maxBytes)} of logs`;
    } else if (this.lines.length >= this.maxLines) {
      this.exceeded = `more than ${this.maxLines} log lines`;
      message = '';
    }
    this.bytes += size;
    if (message !== '' || this.exceeded === null) this.append(level, logger, message);
    if (this.exceeded === null) return;
    this.open = false;
    this.append('WARNING', 'tollgate', `The function wrote ${this.exceeded}; the rest was cut.`);
    this.stop();
  }

  append(level, logger, message) {
    const line = toJson([now() / 1000, level, logger, message]);
    this.lines.push(line);
    this.ring.put(Buffer.from(`${line}\n`));
  }

  /** A line of the host itself. */
  note(message) {
    if (this.open) this.append('WARNING', 'tollgate', message);
  }

  stop() {
    // At the top of the module nothing is thrown: importing code would wrap it.
    if (this.running) throw new OutputLimit(this.exceeded);
  }

  /** The last lines, which had no end, and what came past the streams. */
  finish() {
    this.running = false;
    for (const stream of this.streams) stream.finish();
    for (const native of this.natives) {
      if (!native.isWritten()) continue;
      const { text, full } = native.take();
      const lines = text.split('\n');
      if (lines.at(-1) === '') lines.pop();
      for (const line of lines) this.add(native.level, native.name, line);
      if (full) {
        this.full = true;
        this.note(`More was written to ${native.name} than there was room for; the rest was cut.`);
      }
    }
  }

  /** All lines as a JSON array. What comes afterwards is dropped. */
  take() {
    this.open = false;
    const text = `[${this.lines.join(',')}]`;
    this.lines = [];
    // These lines belong to no later call, even if that breaks before it begins.
    this.ring.clear();
    return text;
  }
}

function amount(count) {
  return count >= 1 << 20 ? `${count >> 20} MiB` : `${count} bytes`;
}

/** `process.stdout` or `process.stderr`: whole lines become log lines. */
class LogStream extends Writable {
  isTTY = false;
  #rest = [];
  #size = 0;

  constructor(logs, number, name, level, ring) {
    super({ decodeStrings: false });
    Object.assign(this, { fd: number, logger: name, level });
    Object.defineProperties(this, { logs: { value: logs }, ring: { value: ring } });
  }

  write(data, encoding, written) {
    if (typeof encoding === 'function') [encoding, written] = [undefined, encoding];
    if (typeof data === 'string') data = Buffer.from(data, encoding);
    this.#take(Buffer.from(data));
    if (typeof written === 'function') process.nextTick(written);
    return true;
  }

  #take(data) {
    if (!this.logs.open) {
      this.#drop();
      this.logs.add(this.level, this.logger, '');
      return;
    }
    const end = data.lastIndexOf(10);
    if (end < 0) return this.#keep(data);
    const whole = Buffer.concat([...this.#drop(), data.subarray(0, end)]).toString();
    if (end + 1 < data.length) this.#keep(data.subarray(end + 1));
    for (const line of whole.split('\n')) this.logs.add(this.level, this.logger, line);
  }

  #keep(data) {
    if (data.length === 0) return;
    this.#rest.push(data);
    this.#size += data.length;
    this.ring.put(data);
    if (this.#size > this.logs.maxBytes) this.finish();
  }

  #drop() {
    const rest = this.#rest;
    if (rest.length > 0) {
      this.#rest = [];
      this.#size = 0;
      this.ring.clear();
    }
    return rest;
  }

  /** The last line, which had no end. */
  finish() {
    const rest = this.#drop();
    if (rest.length > 0) this.logs.add(this.level, this.logger, Buffer.concat(rest).toString());
  }

  // Later calls use it too.
  end(data, encoding, ended) {
    if (data != null && typeof data !== 'function') this.write(data, encoding);
    for (const call of [data, encoding, ended]) {
      if (typeof call === 'function') process.nextTick(call);
    }
    return this;
  }

  destroy() {
    return this;
  }
}

// Methods of the console, with the level of what they print.
const METHODS = {
  log: 'INFO', info: 'INFO', debug: 'DEBUG', warn: 'WARNING', error: 'ERROR', trace: 'ERROR',
  assert: 'WARNING', dir: 'INFO', dirxml: 'INFO', table: 'INFO', count: 'INFO', group: 'INFO',
  groupCollapsed: 'INFO', timeEnd: 'INFO', timeLog: 'INFO', countReset: 'WARNING', time: 'WARNING',
};

/** Makes `console`, `process.stdout`, `process.stderr` and `log` write to `logs`. A call of the console
 * is one line, whatever it holds. */
function lead(logs) {
  let level = 'INFO';
  const sink = (logger) => ({
    write: (text) => logs.add(level, logger, text.endsWith('\n') ? text.slice(0, -1) : text),
    on() {}, once() {}, removeListener() {}, listenerCount: () => 0,
  });
  const own = new Console({
    stdout: sink('stdout'), stderr: sink('stderr'), colorMode: false, ignoreErrors: false,
  });
  for (const [name, of] of Object.entries(METHODS)) {
    const print = own[name].bind(own);
    console[name] = (...args) => {
      level = of;
      print(...args);
    };
  }
  console.groupEnd = own.groupEnd.bind(own);
  console.Console = Console;
  const [stdout, stderr] = logs.streams;
  for (const [name, value] of Object.entries({ stdout, stderr })) {
    Object.defineProperty(process, name, { value, configurable: true, enumerable: true, writable: true });
  }
  globalThis.log = makeLog(logs);
}

function makeLog(logs) {
  /** Writes one line to the invocation's logs: `log('checked', {level: 'warning', user: 5})`. */
  return function log(message, options = {}) {
    const { level = 'info', ...extra } = typeof options === 'string' ? { level: options } : options ?? {};
    let text = typeof message === 'string' ? message : shown(message);
    for (const [name, value] of Object.entries(extra)) text += ` ${name}=${shown(value)}`;
    logs.add(LEVELS[String(level).toLowerCase()] ?? 'INFO', 'function', text);
  };
}

/** A value in words; a log line must not end a run. */
function shown(value) {
  try {
    return inspect(value, { breakLength: Infinity });
  } catch (error) {
    return `<not shown: ${error?.name}>`;
  }
}

module.exports = { Logs, OutputLimit, lead };
