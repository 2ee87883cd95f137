// Frames between worker and server: a big-endian 32-bit length and that many bytes of JSON.
//
// User code in a worker can reach all of this; the server therefore trusts no frame.
'use strict';

const { Buffer } = require('node:buffer');
const { randomBytes } = require('node:crypto');
const net = require('node:net');

// Requests of one call that wait for the server at the same time. The server refuses more.
const REQUESTS_AT_ONCE = 16;
const OVER = 'client works only while main runs, and for what main started in this call';

// Bound here, so that user code that replaces `JSON.parse` does not break the host.
const parsePlain = JSON.parse;
const endProcess = process.reallyExit.bind(process);

const LONG = /[0-9]{16}/;
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/g;
const INTEGER = /^-?[0-9]+$/;
// No text from outside begins with it.
const MARK = `integer ${randomBytes(16).toString('hex')} `;

/** A JSON text as values. An integer that no number holds exactly is a BigInt. */
function parse(text) {
  if (!LONG.test(text)) return parsePlain(text);
  const marked = text.replace(TOKENS, (token) => {
    if (!INTEGER.test(token) || Number.isSafeInteger(Number(token))) return token;
    return `"${MARK}${token}"`;
  });
  const exact = (_, value) => {
    if (typeof value !== 'string' || !value.startsWith(MARK)) return value;
    return BigInt(value.slice(MARK.length));
  };
  return parsePlain(marked, exact);
}

function framed(text) {
  const length = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(4 + length);
  frame.writeUInt32BE(length, 0);
  frame.write(text, 4);
  return frame;
}

/** The worker's socket. */
class Channel {
  #socket;
  #received = [];
  #size = 0;
  #waiting = new Map();
  #turns = [];
  #count = 0;
  #open = false;
  // A frame that so many bytes follow.
  #followed = null;

  /** `take` is given each frame that is no answer, and the bytes that follow it where it says so. */
  constructor(descriptor, take) {
    this.take = take;
    this.#socket = new net.Socket({ fd: descriptor, readable: true, writable: true });
    this.#socket.on('data', (data) => this.#arrived(data));
    // The server has let go of this worker.
    this.#socket.on('close', () => endProcess(0));
    this.#socket.on('error', () => endProcess(0));
  }

  #arrived(data) {
    this.#received.push(data);
    this.#size += data.length;
    for (;;) {
      if (this.#followed !== null) {
        const frame = this.#followed;
        if (this.#size < frame.files.bytes) return;
        this.#followed = null;
        this.take(frame, this.#taken(frame.files.bytes));
        continue;
      }
      const text = this.#firstFrame();
      if (text === null) return;
      const frame = parse(text);
      if (frame.files) {
        this.#followed = frame;
      } else if ('fn' in frame || 'op' in frame) {
        this.take(frame);
      } else {
        this.#answered(frame);
      }
    }
  }

  #firstFrame() {
    if (this.#size < 4) return null;
    if (this.#received[0].length < 4) this.#received = [Buffer.concat(this.#received)];
    const end = 4 + this.#received[0].readUInt32BE(0);
    if (this.#size < end) return null;
    return this.#taken(end).utf8Slice(4, end);
  }

  /** The first bytes of what was received, which are there. */
  #taken(count) {
    const all = this.#received.length === 1 ? this.#received[0] : Buffer.concat(this.#received);
    this.#received = all.length > count ? [all.subarray(count)] : [];
    this.#size -= count;
    return all.subarray(0, count);
  }

  // An answer that comes too late for its call is nobody's.
  #answered(frame) {
    const waiting = this.#waiting.get(frame.id);
    if (waiting === undefined) return;
    this.#waiting.delete(frame.id);
    waiting.resolve(frame);
    const next = this.#turns.shift();
    if (next !== undefined) next();
  }

  /** Asks the server. `args` is JSON text. */
  request(method, args) {
    return new Promise((resolve, reject) => {
      if (!this.#open) return reject(new Error(OVER));
      const ask = () => {
        const id = ++this.#count;
        this.#waiting.set(id, { resolve, reject });
        this.send(`{"op":"host","id":${id},"method":"${method}","args":${args}}`);
      };
      ask.reject = reject;
      if (this.#waiting.size < REQUESTS_AT_ONCE) ask();
      else this.#turns.push(ask);
    });
  }

  open() {
    this.#open = true;
  }

  /** Takes no more requests, and gives up those under way. */
  close() {
    this.#open = false;
    if (this.#waiting.size === 0 && this.#turns.length === 0) return;
    const given = [...this.#waiting.values(), ...this.#turns];
    this.#waiting.clear();
    this.#turns = [];
    for (const { reject } of given) reject(new Error(OVER));
  }

  send(text, sent) {
    this.#socket.write(framed(text), sent);
  }
}

module.exports = { Channel, endProcess, parse };
