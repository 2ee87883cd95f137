// What the server is told of an error: the author's lines only, and limits by their name.
'use strict';

const { inspect } = require('node:util');
const { NotJson } = require('./results.js');
const { OutputLimit } = require('./logs.js');

// So many causes of one error are looked at.
const CAUSES_MAX = 16;

/** An error and what it came from, as far as it is worth a look. */
function chain(error) {
  const seen = new Set();
  const waiting = [error];
  while (waiting.length > 0 && seen.size < CAUSES_MAX) {
    const one = waiting.pop();
    if (one === null || typeof one !== 'object' || seen.has(one)) continue;
    seen.add(one);
    waiting.push(one.cause, ...(Array.isArray(one.errors) ? one.errors.slice(0, CAUSES_MAX) : []));
  }
  return seen;
}

/** The limit that an error speaks of, in words; null if of none. What it came from counts. */
function limitOf(error, limits) {
  for (const one of chain(error)) {
    const found = of(one, limits);
    if (found !== null) return found;
  }
  return null;
}

function of(error, limits) {
  const memory = `The function needed more than its ${limits.memory_mb} MiB of memory.`;
  if (error instanceof RangeError && /^Array buffer allocation failed/.test(error.message)) return memory;
  switch (error.code) {
    case 'ENOMEM':
      return memory;
    case 'ENOSPC':
    case 'EDQUOT':
      return `The scratch folder is full: it holds ${limits.scratch_bytes >> 20} MiB and ${limits.scratch_files} files.`;
    case 'EMFILE':
    case 'ENFILE':
      return `The function has too many files open: a worker may have ${limits.open_files}.`;
    case 'EFBIG':
      return `A file grew larger than the limit of ${limits.file_bytes >> 20} MiB.`;
    default:
      return null;
  }
}

/** The failure that an error is. `place`: the folder of the function's code. */
function failureOf(error, kind, { place, most }) {
  // The logs say it.
  if (error instanceof OutputLimit) return { kind: 'limit', message: error.message, traceback: null };
  if (error instanceof NotJson) {
    return { kind: 'not_json', message: `The result is not JSON: ${error.message}.`, traceback: null };
  }
  return { kind, message: title(error).slice(0, most), traceback: trace(error, place).slice(-most) || null };
}

/** `TypeError: text`. */
function title(error) {
  if (!isError(error)) return `main threw what is no Error: ${inspect(error, { depth: 1 })}`;
  const name = textOf(error.name) || 'Error';
  let text = textOf(error.message);
  // What fetch says says nothing.
  if (text === 'fetch failed' && isError(error.cause)) text += `: ${textOf(error.cause.message)}`;
  return text ? `${name}: ${text}` : name;
}

function isError(error) {
  return error instanceof Error || typeof error?.stack === 'string';
}

function textOf(value) {
  return typeof value === 'string' ? value.toWellFormed() : '';
}

/** The stack with the author's lines only, and those of its causes; empty if there are none. */
function trace(error, place) {
  const parts = [];
  let count = 0;
  for (const one of chain(error)) {
    if (!isError(one)) continue;
    const lines = own(one, place);
    count += lines.length;
    const head = title(one);
    parts.push([parts.length === 0 ? head : `Caused by: ${head}`, ...lines].join('\n'));
  }
  return count > 0 || parts.length > 1 ? parts.join('\n') : '';
}

function own(error, place) {
  if (place === undefined) return [];
  const lines = textOf(error.stack).split('\n').filter((line) => /^\s+at /.test(line) && line.includes(place));
  return lines.map((line) => line.replaceAll(`file://${place}`, '').replaceAll(place, ''));
}

module.exports = { failureOf, limitOf };
