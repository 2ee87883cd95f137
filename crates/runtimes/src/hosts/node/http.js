// HTTP for functions: requests go over the worker's socket to the server, which makes them.
//
// A function has no network. `client.http` is the way out, and the usual ways are led onto it: `fetch`
// and what rests on undici, `node:http` and `node:https`. None of this is a wall: the server decides
// what may be reached.
'use strict';

const { Buffer } = require('node:buffer');
const http = require('node:http');
const https = require('node:https');
const { Duplex } = require('node:stream');
const { toJson } = require('./results.js');

// What the server sets itself; the libraries send it unasked.
const RESERVED = new Set([
  'connection', 'content-length', 'expect', 'host', 'keep-alive', 'proxy-authorization',
  'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade',
]);

/** What `client.http.request` answers. */
class Response {
  constructor(answer) {
    this.status = answer.status;
    this.reason = answer.reason ?? '';
    this.url = answer.url;
    this.body = Buffer.from(answer.body, 'base64');
    // All of them, in order; and by lower-case name, several joined by commas.
    this.headerList = answer.headers;
    this.headers = {};
    for (const [name, value] of answer.headers) {
      const lower = name.toLowerCase();
      this.headers[lower] = lower in this.headers ? `${this.headers[lower]}, ${value}` : value;
    }
  }

  get ok() {
    return this.status >= 200 && this.status < 300;
  }

  get text() {
    return this.body.toString();
  }

  json() {
    return JSON.parse(this.text);
  }
}

/** `client.http`. */
class Http {
  #platform;

  constructor(platform) {
    this.#platform = platform;
  }

  /** Makes one request and gives the response, whatever its status. `body` is bytes or text, `json`
   * anything that JSON can carry; `timeout` seconds; `redirects` how many are followed, at most 5. */
  async request(method, url, { headers = {}, body, json, timeout, redirects = 5 } = {}) {
    const given = Object.entries(headers).map(([name, value]) => [name, String(value)]);
    if (json !== undefined) {
      body = toJson(json, 'json');
      if (!given.some(([name]) => name.toLowerCase() === 'content-type')) {
        given.push(['Content-Type', 'application/json']);
      }
    }
    if (body != null) body = Buffer.from(body).toString('base64');
    const answer = await this.#platform.call('http.request', {
      method, url: String(url), body, timeout, headers: Object.fromEntries(given), redirects,
    });
    return new Response(answer);
  }

  get(url, options) {
    return this.request('GET', url, options);
  }

  post(url, options) {
    return this.request('POST', url, options);
  }
}

/** A refusal of the server as the error that libraries expect of a connection. */
function failureOf(error) {
  const codes = { 403: 'EACCES', 504: 'ETIMEDOUT' };
  const failure = new Error(error.message, { cause: error });
  failure.code = codes[error.status] ?? 'ECONNREFUSED';
  return failure;
}

/** Header fields as one text for each name; what the server sets itself is left out. */
function joined(fields) {
  const found = new Map();
  for (const [name, value] of fields) {
    const lower = name.toLowerCase();
    if (RESERVED.has(lower)) continue;
    const before = found.get(lower);
    if (before === undefined) {
      found.set(lower, [name, value]);
    } else {
      before[1] += (lower === 'cookie' ? '; ' : ', ') + value;
    }
  }
  return Object.fromEntries(found.values());
}

// fetch, and undici

/** `GET`'s headers as undici has them: an object, or names and values in turn, or pairs. */
function pairsOf(headers) {
  if (headers == null) return [];
  if (!Array.isArray(headers)) {
    const entries = typeof headers[Symbol.iterator] === 'function' ? [...headers] : Object.entries(headers);
    return entries.flatMap(([name, value]) => [value].flat().map((one) => [String(name), String(one)]));
  }
  if (Array.isArray(headers[0])) return headers.map(([name, value]) => [String(name), String(value)]);
  const pairs = [];
  for (let at = 0; at + 1 < headers.length; at += 2) {
    pairs.push([String(headers[at]), String(headers[at + 1])]);
  }
  return pairs;
}

async function bytesOf(body) {
  if (body == null) return null;
  if (typeof body === 'string' || ArrayBuffer.isView(body)) return Buffer.from(body);
  if (body instanceof ArrayBuffer) return Buffer.from(body);
  if (typeof body.arrayBuffer === 'function') return Buffer.from(await body.arrayBuffer());
  const parts = [];
  for await (const part of body) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

/** What undici sends requests by. */
class Dispatcher {
  #send;

  constructor(send) {
    this.#send = send;
  }

  dispatch(options, handler) {
    const course = { aborted: null };
    const abort = (reason) => {
      course.aborted ??= reason ?? new DOMException('This operation was aborted', 'AbortError');
    };
    this.#exchange(options, adapted(handler, abort), course);
    return true;
  }

  async #exchange(options, handler, course) {
    try {
      handler.start();
      const body = await bytesOf(options.body);
      if (course.aborted) throw course.aborted;
      const target = new URL(options.path, options.origin);
      const timeout = options.headersTimeout > 0 ? options.headersTimeout / 1000 : undefined;
      const answer = await this.#send(options.method, target, pairsOf(options.headers), body, timeout);
      if (course.aborted) throw course.aborted;
      handler.head(answer);
      if (course.aborted) throw course.aborted;
      if (answer.body.length > 0) handler.data(answer.body);
      if (course.aborted) throw course.aborted;
      handler.end();
    } catch (error) {
      handler.failed(course.aborted ?? error);
    }
  }

  async close() {}

  async destroy() {}

  get closed() {
    return false;
  }

  get destroyed() {
    return false;
  }
}

/** The handlers of undici to version 6, and of later ones, as one. */
function adapted(handler, abort) {
  const raw = (answer) => shownHead(answer).flat().map((text) => Buffer.from(text, 'latin1'));
  if (typeof handler.onRequestStart === 'function') {
    const controller = {
      abort, pause() {}, resume() {}, paused: false, aborted: false, reason: null, rawHeaders: null,
    };
    return {
      start: () => handler.onRequestStart(controller, {}),
      head: (answer) => {
        controller.rawHeaders = raw(answer);
        const headers = {};
        for (const [name, value] of shownHead(answer)) {
          const lower = name.toLowerCase();
          headers[lower] = lower in headers ? [headers[lower], value].flat() : value;
        }
        handler.onResponseStart?.(controller, answer.status, headers, answer.reason);
      },
      data: (body) => handler.onResponseData?.(controller, body),
      end: () => handler.onResponseEnd?.(controller, {}),
      failed: (error) => handler.onResponseError?.(controller, error),
    };
  }
  return {
    start: () => handler.onConnect?.(abort, null),
    head: (answer) => handler.onHeaders(answer.status, raw(answer), () => {}, answer.reason),
    data: (body) => handler.onData(body),
    end: () => handler.onComplete([]),
    failed: (error) => handler.onError(error),
  };
}

function shownHead(answer) {
  return answer.headerList.filter(([name]) => !RESERVED.has(name.toLowerCase()));
}

// node:http, and what rests on it

/** Stands where `node:http` has its socket: reads the request that is written to it, has the server make
 * it, and gives back the response as it would come over a connection that then ends. */
class PipeSocket extends Duplex {
  #send;
  #base;
  #written = [];
  #head = null;
  #asked = false;
  #timer = null;
  connecting = false;
  encrypted = false;
  authorized = true;

  constructor(send, base) {
    super({ allowHalfOpen: true });
    this.#send = send;
    this.#base = base;
    this.encrypted = base.startsWith('https:');
    const news = this.encrypted ? ['connect', 'secureConnect'] : ['connect'];
    process.nextTick(() => news.forEach((name) => this.emit(name)));
  }

  _read() {}

  _write(data, encoding, done) {
    this.#written.push(Buffer.from(data, encoding));
    this.#look();
    done();
  }

  _final(done) {
    this.#look();
    done();
  }

  _destroy(error, done) {
    clearTimeout(this.#timer);
    done(error);
  }

  #look() {
    if (this.#asked) return;
    const data = Buffer.concat(this.#written);
    if (this.#head === null) {
      const end = data.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.#head = headOf(data.latin1Slice(0, end));
      this.#written = [data.subarray(end + 4)];
    }
    const body = bodyOf(this.#head, Buffer.concat(this.#written));
    if (body === null) return;
    this.#asked = true;
    this.#exchange(body);
  }

  async #exchange(body) {
    const { method, target, fields } = this.#head;
    try {
      if (!target.startsWith('/')) throw new Error('a function reaches no proxy; leave it out');
      const answer = await this.#send(method, new URL(this.#base + target), fields, body);
      if (this.destroyed) return;
      this.push(raw(answer, method));
      this.push(null);
    } catch (error) {
      this.destroy(error);
    }
  }

  setTimeout(time, told) {
    clearTimeout(this.#timer);
    if (told !== undefined) this.once('timeout', told);
    if (time > 0) this.#timer = setTimeout(() => this.emit('timeout'), time);
    return this;
  }

  setNoDelay() {
    return this;
  }

  setKeepAlive() {
    return this;
  }

  ref() {
    return this;
  }

  unref() {
    return this;
  }

  destroySoon() {
    this.destroy();
  }
}

function headOf(text) {
  const [first, ...lines] = text.split('\r\n');
  const [method, target] = first.split(' ');
  const fields = lines.map((line) => {
    const at = line.indexOf(':');
    return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  });
  const find = (name) => fields.find(([known]) => known.toLowerCase() === name)?.[1];
  const chunked = /chunked/i.test(find('transfer-encoding') ?? '');
  return { method, target, fields, chunked, length: Number(find('content-length') ?? 0) };
}

/** The whole body, or null while some of it is missing. */
function bodyOf({ chunked, length }, data) {
  if (!chunked) return data.length >= length ? data : null;
  const parts = [];
  for (let at = 0; ; ) {
    const end = data.indexOf('\r\n', at);
    if (end < 0) return null;
    const size = parseInt(data.latin1Slice(at, end), 16);
    if (data.length < end + 4 + size) return null;
    if (size === 0) return Buffer.concat(parts);
    parts.push(data.subarray(end + 2, end + 2 + size));
    at = end + 4 + size;
  }
}

function raw(answer, method) {
  const sent = answer.headers['content-length'];
  const length = method === 'HEAD' && sent !== undefined ? sent : answer.body.length;
  const lines = shownHead(answer).map(([name, value]) => `${name}: ${value}`);
  const head = [`HTTP/1.1 ${answer.status} ${answer.reason}`, ...lines];
  if (answer.status !== 204 && answer.status !== 304) head.push(`Content-Length: ${length}`);
  head.push('Connection: close', '', '');
  return Buffer.concat([Buffer.from(head.join('\r\n'), 'latin1'), answer.body]);
}

function baseOf(scheme, options, usual) {
  const name = options.hostname ?? options.host ?? 'localhost';
  const host = name.includes(':') && !name.startsWith('[') ? `[${name}]` : name;
  const port = Number(options.port ?? usual);
  return port === usual ? `${scheme}://${host}` : `${scheme}://${host}:${port}`;
}

/** Leads the libraries through `way`; `PlatformError` is what it throws. */
function lead(way, PlatformError) {
  const send = async (method, url, fields, body, timeout) => {
    try {
      return await way.request(method, url, {
        headers: joined(fields), body: body?.length ? body : undefined, timeout, redirects: 0,
      });
    } catch (error) {
      throw error instanceof PlatformError ? failureOf(error) : error;
    }
  };
  Object.defineProperty(globalThis, Symbol.for('undici.globalDispatcher.1'), {
    value: new Dispatcher(send), writable: true, configurable: true, enumerable: false,
  });
  for (const [module, scheme, usual] of [[http, 'http', 80], [https, 'https', 443]]) {
    module.Agent.prototype.createConnection = function createConnection(options, connected) {
      const socket = new PipeSocket(send, baseOf(scheme, options, usual));
      if (typeof connected === 'function') process.nextTick(connected, null, socket);
      // Node wants it returned or told, and takes what comes first.
      return typeof connected === 'function' ? undefined : socket;
    };
  }
}

module.exports = { Http, lead };
