// A worker: one function version, loaded once, called again and again.
//
// Must give back a worker that is fit for the next call, or say that it is not.
'use strict';

const { webcrypto } = require('node:crypto');
const fs = require('node:fs');
const { builtinModules, createRequire } = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');

const { SourceError, check, noFunction, read } = require('./check.js');
const { Platform, PlatformError, makeClient } = require('./client.js');
const { failureOf, limitOf } = require('./failures.js');
const { unpack } = require('./files.js');
const { Fitness } = require('./fit.js');
const { Channel, endProcess } = require('./frames.js');
const http = require('./http.js');
const logs = require('./logs.js');
const refused = require('./refused.js');
const { toJson } = require('./results.js');

const setTurn = setImmediate;
// Descriptors of a worker, beside its streams.
const SOCKET_FD = 3;
const JOURNAL_FD = 4;
// Where the code lies in the scratch folder: Node loads files.
const FOLDER = '.function';

/** `main` was left by `process.exit`. */
class Exited extends Error {
  name = 'process.exit';
}

/** One version of one function: its module, and how `main` is called. */
class Worker {
  #called = false;
  #fail = null;
  // Why no other call may be served, as far as it is known.
  #broken = null;

  /** `load` is `import`, `collect` has the memory collected. */
  constructor(load, collect) {
    this.import = load;
    this.collect = collect;
    refused.prepare();
    this.channel = new Channel(SOCKET_FD, (frame, files) => this.#take(frame, files));
  }

  #take(frame, files) {
    if (frame.op === undefined) {
      this.#serve(frame);
      return;
    }
    // From here on it is the code that takes time.
    this.channel.send('{"op":"begun"}');
    if (frame.op === 'check') {
      check(frame.code, frame.function).then((found) => this.#sendLast(JSON.stringify(found)));
    } else {
      this.#load(frame, files);
    }
  }

  #sendLast(text) {
    this.channel.send(text, () => endProcess(0));
  }

  // Loading

  async #load(request, files) {
    this.limits = { ...request.limits, memory_mb: request.memory_mb };
    this.logs = new logs.Logs(JOURNAL_FD);
    this.logs.maxBytes = request.limits.log_bytes;
    this.logs.maxLines = request.limits.log_lines;
    logs.lead(this.logs);
    this.platform = new Platform(this.channel);
    this.client = makeClient(this.platform);
    globalThis.PlatformError = PlatformError;
    http.lead(this.client.http, PlatformError);
    Object.assign(process.env, request.env, request.variables);
    this.#watchProcess();
    this.fitness = new Fitness(request.memory_mb, this.collect);
    this.channel.open();
    let failure;
    try {
      // What breaks outside of the module's own course fails loading too.
      this.main = await this.#withinCourse(() => this.#mainOf(request, files));
      const message = noFunction(request.function);
      failure = typeof this.main === 'function' ? null : { kind: 'load', message, traceback: null };
    } catch (error) {
      failure = this.#explain(error, 'load');
    }
    this.channel.close();
    this.logs.finish();
    if (failure !== null) {
      this.#sendLast(`{"op":"failed","failure":${JSON.stringify(failure)},"logs":${this.logs.take()}}`);
      return;
    }
    // What has ended is seen to have ended.
    await new Promise((turn) => setTurn(turn));
    this.fitness.remember();
    const left = this.fitness.left ? ',"left":true' : '';
    this.channel.send(`{"op":"ready","pid":${process.pid}${left}}`);
  }

  async #mainOf(request, files) {
    clearGlobals();
    const found = await (files === undefined ? this.#single(request) : this.#several(request, files));
    const given = found?.default;
    const name = request.function;
    const whole = name === 'main' ? [found, given, given?.default] : [];
    for (const main of [...whole, found?.[name], given?.[name]]) {
      if (typeof main === 'function') return main;
    }
    return undefined;
  }

  /** What the one file exports. */
  async #single({ code, slug }) {
    const source = read(code);
    const folder = ownFolder();
    this.place = folder + path.sep;
    const file = path.join(folder, `${slug}.${source.kind}`);
    fs.writeFileSync(file, source.code);
    process.argv.splice(1, Infinity, file);
    return source.kind === 'cjs' ? createRequire(file)(file) : this.import(pathToFileURL(file).href);
  }

  /** What the file with the entry point exports, in the midst of the others. */
  async #several({ files: { file } }, encoded) {
    const folder = ownFolder();
    this.place = folder + path.sep;
    unpack(folder, encoded);
    const entry = path.join(folder, file);
    process.argv.splice(1, Infinity, entry);
    return this.import(pathToFileURL(entry).href);
  }

  #watchProcess() {
    const broke = (event) => (error) => {
      // Who listens too takes care of it.
      if (process.listenerCount(event) > 1) return;
      this.#broken = `${event} outside of what main waits for`;
      this.#fail?.(error);
    };
    process.on('uncaughtException', broke('uncaughtException'));
    process.on('unhandledRejection', broke('unhandledRejection'));
    process.exit = (code) => {
      const shown = code ?? process.exitCode ?? 0;
      const error = new Exited(
        `it was called with ${shown}; a function ends by returning from main, or by throwing`,
      );
      this.#broken = 'process.exit was called';
      this.#fail?.(error);
      throw error;
    };
  }

  // Calling

  /** What `work` comes to, or what broke meanwhile. */
  #withinCourse(work) {
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      Promise.resolve(work()).then(resolve, reject);
    }).finally(() => {
      this.#fail = null;
    });
  }

  async #serve(call) {
    const { params, user, fn: context } = call;
    // What loading logged stands before the first call's lines.
    if (this.#called) this.logs.begin();
    this.#called = true;
    this.logs.running = true;
    this.platform.appSlug = context.app_slug;
    this.#export(context.execution_id, user);
    if (params !== null && typeof params === 'object' && !Array.isArray(params)) {
      params.__function__ = context;
    }
    this.channel.open();
    let text = null;
    let failure = null;
    try {
      const { main, client } = this;
      const result = await this.#withinCourse(() => main(params, user ?? null, client));
      this.channel.close();
      text = toJson(result);
      failure = this.#oversized(text);
    } catch (error) {
      this.channel.close();
      failure = this.#explain(error, 'exception');
    }
    await this.fitness.settle();
    this.#answer(text, failure);
  }

  #answer(text, failure) {
    this.logs.finish();
    const { unfit, large } = this.fitness.look();
    const { exceeded } = this.logs;
    if (exceeded !== null) {
      failure = { kind: 'limit', message: `The function wrote ${exceeded} and was stopped.`, traceback: null };
    }
    const reason = unfit ?? this.#broken ?? (this.logs.full ? 'a descriptor takes no more' : null);
    if (unfit !== null) this.logs.note(`The worker is replaced: ${unfit}.`);
    let state = reason === null ? '' : `,"unfit":${JSON.stringify(reason)}`;
    if (this.fitness.left) state += ',"left":true';
    if (large) state += ',"large":true';
    const lines = this.logs.take();
    this.channel.send(
      failure === null
        ? `{"op":"result","result":${text},"logs":${lines}${state}}`
        : `{"op":"failed","failure":${JSON.stringify(failure)},"logs":${lines}${state}}`,
    );
  }

  #export(execution, user) {
    this.fitness.setVariable('TARUVI_EXECUTION_ID', String(execution));
    this.fitness.setVariable('TARUVI_USER_ID', String(user?.id ?? ''));
    this.fitness.setVariable('TARUVI_USER_EMAIL', String(user?.email ?? ''));
  }

  #oversized(text) {
    if (text.length * 4 <= this.limits.result_bytes) return null;
    const size = Buffer.byteLength(text);
    if (size <= this.limits.result_bytes) return null;
    const message = `The result is ${size} bytes of JSON; the limit is ${this.limits.result_bytes}.`;
    return { kind: 'limit', message, traceback: null };
  }

  /** The failure that an error is. The function has a say in most of what an error is asked for, and
   * none in whether there is an answer. */
  #explain(error, kind) {
    try {
      if (kind === 'load' && error instanceof SourceError) {
        const place = error.line === undefined ? '' : ` (line ${error.line})`;
        return { kind, message: `${error.message}${place}`, traceback: null };
      }
      const limit = limitOf(error, this.limits);
      if (limit !== null) return { kind: 'limit', message: limit, traceback: null };
      return failureOf(error, kind, { place: this.place, most: this.limits.error_bytes });
    } catch {
      return { kind, message: `main threw what cannot be shown: ${typeof error}`, traceback: null };
    }
  }
}

/** A new folder for the code. */
function ownFolder() {
  const folder = path.join(process.env.HOME ?? '/tmp', FOLDER);
  try {
    fs.mkdirSync(folder);
    return folder;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
    // Without walls all workers have one folder.
    return fs.mkdtempSync(`${folder}-`);
  }
}

/** Takes away what Node makes global for a program that is given as text, as this host is. */
function clearGlobals() {
  const given = ['require', 'module', 'exports', '__filename', '__dirname'];
  for (const name of [...given, ...builtinModules]) {
    if (name !== 'console' && name !== 'process') delete globalThis[name];
  }
  globalThis.crypto = webcrypto;
  process.execArgv = [];
}

/** `load` is `import`, `collect` has the memory collected. */
function main(load, collect) {
  new Worker(load, collect);
}

module.exports = { main };
