// Whether a worker is fit for the next call: what a call left behind is put right, or the worker says
// that it must go. The look must cost almost nothing when nothing was left.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const timers = require('node:timers');
const { promisify } = require('node:util');
const v8 = require('node:v8');

// How often it asks the kernel for descriptors and memory.
const LOOK_EVERY = 8;
// Descriptors that calls may leave open, beyond those that there were after loading.
const DESCRIPTORS_KEPT = 16;

// How long what a call began may take to come to its end: a file that was just read is still being closed.
const SETTLE_MS = 2;

const clears = { setTimeout: clearTimeout, setInterval: clearInterval, setImmediate: clearImmediate };
const now = performance.now.bind(performance);
const setTurn = setImmediate;
const activeResources = process.getActiveResourcesInfo.bind(process);
const { closeSync, openSync, readdirSync, rmSync, statSync } = fs;
const { cwd, chdir, umask } = process;

/** How many listen to this process's events. */
function listeners() {
  let count = 0;
  for (const name of process.eventNames()) count += process.listenerCount(name);
  return count;
}

class Fitness {
  #timers = new Map();
  #calls = 0;
  #environ = {};
  #environChanged = false;

  constructor(memoryMb, collect) {
    this.memoryBytes = memoryMb * 1024 * 1024;
    this.collect = collect;
    this.home = process.env.HOME;
    this.#trackTimers();
    this.#trackEnviron();
  }

  // Timers are known from their making until they have run.
  #trackTimers() {
    for (const [name, clear] of Object.entries(clears)) {
      const make = timers[name];
      const known = this.#timers;
      const once = name !== 'setInterval';
      const tracked = function (run, ...args) {
        if (typeof run !== 'function') return make(run, ...args);
        const timer = make(function (...given) {
          if (once) known.delete(timer);
          return Reflect.apply(run, this, given);
        }, ...args);
        known.set(timer, clear);
        return timer;
      };
      Object.defineProperty(tracked, 'name', { value: name });
      tracked[promisify.custom] = make[promisify.custom];
      timers[name] = globalThis[name] = tracked;
    }
    for (const [name, clear] of Object.entries({ clearTimeout, clearInterval, clearImmediate })) {
      const known = this.#timers;
      timers[name] = globalThis[name] = function (timer) {
        known.delete(timer);
        clear(timer);
      };
    }
  }

  #clearTimers() {
    for (const [timer, clear] of this.#timers) clear(timer);
    this.#timers.clear();
  }

  // The environment is this host's own object: what is set there is no memory of the C library's.
  #trackEnviron() {
    const real = process.env;
    const values = { ...real };
    const changed = () => {
      this.#environChanged = true;
    };
    this.environ = values;
    process.env = new Proxy(values, {
      set(target, name, value) {
        changed();
        target[name] = String(value);
        // The one that the engine itself looks at.
        if (name === 'TZ') real.TZ = target[name];
        return true;
      },
      deleteProperty(target, name) {
        changed();
        delete target[name];
        if (name === 'TZ') delete real.TZ;
        return true;
      },
      defineProperty(target, name, descriptor) {
        changed();
        return Reflect.defineProperty(target, name, descriptor);
      },
    });
    this.env = process.env;
  }

  #restoreEnviron() {
    process.env = this.env;
    if (!this.#environChanged) return;
    const { TZ } = this.environ;
    for (const name of Object.keys(this.environ)) delete this.environ[name];
    Object.assign(this.environ, this.#environ);
    if (TZ !== this.environ.TZ) {
      if (this.environ.TZ === undefined) delete this.env.TZ;
      else this.env.TZ = this.environ.TZ;
    }
    this.#environChanged = false;
  }

  /** Sets what differs from call to call. */
  setVariable(name, value) {
    this.environ[name] = this.#environ[name] = value;
  }

  /** What there is now is as it should be. */
  remember() {
    this.#clearTimers();
    this.#environ = { ...this.environ };
    this.#environChanged = false;
    this.folder = cwd();
    this.mask = umask();
    this.resources = activeResources().length;
    this.listeners = new Map(process.eventNames().map((name) => [name, process.rawListeners(name)]));
    this.heard = listeners();
    this.kept = this.home ? new Set(readdirSync(this.home)) : null;
    this.scratch = this.home ? this.#scratchState() : null;
    this.descriptor = this.#nextDescriptor();
  }

  /** Whether anything stays active between calls, which gets no time then. */
  get left() {
    return this.resources > 1;
  }

  /** Lets what is about to end come to its end. Mostly there is nothing. */
  async settle() {
    try {
      this.#clearTimers();
      const until = now() + SETTLE_MS;
      while (activeResources().length > this.resources && now() < until) {
        await new Promise((turn) => setTurn(turn));
      }
    } catch {
      // The look that follows says it.
    }
  }

  /** Puts right what the call left. Returns why the worker must go, or null, and whether its memory is
   * worth a look. */
  look() {
    try {
      return this.#look();
    } catch (error) {
      // No descriptor is left to look with, or something was replaced that this relies on.
      return { unfit: `it could not be looked at: ${error?.message}`, large: false };
    }
  }

  #look() {
    this.#clearTimers();
    if (process.env !== this.env || this.#environChanged) this.#restoreEnviron();
    if (cwd() !== this.folder) chdir(this.folder);
    if (listeners() !== this.heard) this.#restoreListeners();
    const active = activeResources();
    if (active.length > this.resources) {
      const kinds = [...new Set(active)].filter((kind) => kind !== 'PipeWrap').join(', ');
      return { unfit: `it left work behind that still runs: ${kinds}`, large: false };
    }
    const unfit = this.#cleanScratch();
    if (unfit || this.#calls++ % LOOK_EVERY !== 0) return { unfit, large: false };
    return this.#lookThoroughly();
  }

  #lookThoroughly() {
    if (umask() !== this.mask) umask(this.mask);
    if (this.#nextDescriptor() > this.descriptor + DESCRIPTORS_KEPT) {
      return { unfit: `it left more than ${DESCRIPTORS_KEPT} descriptors open`, large: false };
    }
    return { unfit: null, large: this.#isLarge() };
  }

  #restoreListeners() {
    for (const name of process.eventNames()) {
      const before = this.listeners.get(name) ?? [];
      for (const listener of process.rawListeners(name)) {
        if (!before.includes(listener)) process.removeListener(name, listener);
      }
    }
    this.heard = listeners();
  }

  // The time alone is too coarse.
  #scratchState() {
    const { mtimeMs, size, nlink } = statSync(this.home);
    return `${mtimeMs} ${size} ${nlink}`;
  }

  #cleanScratch() {
    if (!this.home || this.#scratchState() === this.scratch) return null;
    const there = readdirSync(this.home);
    for (const name of there) {
      if (!this.kept.has(name)) rmSync(path.join(this.home, name), { recursive: true, force: true });
    }
    this.scratch = this.#scratchState();
    const gone = [...this.kept].find((name) => !there.includes(name));
    return gone === undefined ? null : `it removed ${gone}, which loading had made`;
  }

  #nextDescriptor() {
    const descriptor = openSync('/dev/null', 'r');
    closeSync(descriptor);
    return descriptor;
  }

  #isLarge() {
    const beyond = () => {
      const heap = v8.getHeapStatistics();
      return heap.used_heap_size + heap.external_memory > this.memoryBytes / 2;
    };
    if (!beyond()) return false;
    this.collect();
    return beyond();
  }
}

module.exports = { Fitness };
