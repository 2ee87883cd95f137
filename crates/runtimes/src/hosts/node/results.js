// How a result becomes JSON: what JSON knows as it is, the rest by the rules of docs/guide/functions.md.
'use strict';

const { Buffer } = require('node:buffer');
const { types } = require('node:util');

const DEPTH_MAX = 100;
const quote = JSON.stringify;
const isArray = Array.isArray;

/** What `main` returned cannot be written as JSON. */
class NotJson extends Error {
  name = 'NotJson';
}

/** A value as JSON text. `undefined` is `null`, and left out of objects. */
function toJson(value, path = 'result') {
  return value === undefined ? 'null' : write(value, path, 0);
}

function write(value, path, depth) {
  switch (typeof value) {
    case 'string':
      return text(value, path);
    case 'number':
      if (!Number.isFinite(value)) throw new NotJson(`${path} is ${value}`);
      return String(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'bigint':
      return String(value);
    case 'undefined':
      return 'null';
    case 'object':
      return value === null ? 'null' : writeObject(value, path, depth);
    default:
      throw new NotJson(`${path} is a ${typeof value}`);
  }
}

function text(value, path) {
  if (!value.isWellFormed()) throw new NotJson(`${path} holds half a surrogate pair`);
  return quote(value);
}

function writeObject(value, path, depth) {
  if (depth > DEPTH_MAX) {
    throw new NotJson(`it refers back to itself, or is nested deeper than ${DEPTH_MAX} levels`);
  }
  if (isArray(value)) return writeList(value, path, depth);
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) return bytes(value, path, depth);
  if (types.isDate(value)) return date(value, path);
  if (typeof value.toJSON === 'function') return write(value.toJSON(''), path, depth + 1);
  if (types.isSet(value)) return writeList([...value], path, depth);
  if (types.isMap(value)) return writeEntries(value, path, depth);
  if (types.isBoxedPrimitive(value)) return write(value.valueOf(), path, depth);
  const fault = faultOf(value);
  if (fault) throw new NotJson(`${path} is ${fault}`);
  return writeEntries(Object.entries(value), path, depth);
}

/** Why an object's fields are not what it holds; none if they are. */
function faultOf(value) {
  if (types.isPromise(value)) return 'a Promise; await it';
  if (types.isNativeError(value)) return 'an Error; throw it, or return its message';
  if (types.isGeneratorObject(value) || typeof value.next === 'function') {
    return 'an iterator; make an array of it';
  }
  for (const [name, is] of [
    ['RegExp', types.isRegExp], ['WeakMap', types.isWeakMap], ['WeakSet', types.isWeakSet],
    ['Proxy', types.isProxy],
  ]) {
    if (is(value) && name !== 'Proxy') return `a ${name}`;
  }
  return null;
}

function date(value, path) {
  if (Number.isNaN(value.getTime())) throw new NotJson(`${path} is an invalid Date`);
  return quote(value.toISOString());
}

function bytes(value, path, depth) {
  if (types.isAnyArrayBuffer(value)) return quote(Buffer.from(value).toString('base64'));
  if (types.isUint8Array(value) || types.isDataView(value)) {
    return quote(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64'));
  }
  return writeList(Array.from(value), path, depth);
}

function writeList(items, path, depth) {
  let written = '[';
  for (let at = 0; at < items.length; at++) {
    if (at > 0) written += ',';
    written += write(items[at], `${path}[${at}]`, depth + 1);
  }
  return `${written}]`;
}

function writeEntries(entries, path, depth) {
  let written = '{';
  for (const [key, value] of entries) {
    if (value === undefined) continue;
    if (written !== '{') written += ',';
    const name = keyText(key, path);
    written += `${quote(name)}:${write(value, `${path}.${name}`, depth + 1)}`;
  }
  return `${written}}`;
}

function keyText(key, path) {
  if (types.isDate(key) && !Number.isNaN(key.getTime())) return key.toISOString();
  if (!['string', 'number', 'bigint', 'boolean'].includes(typeof key) && key !== null) {
    throw new NotJson(`${path} has a key of type ${typeof key}`);
  }
  const name = String(key);
  if (!name.isWellFormed()) throw new NotJson(`${path} has a key with half a surrogate pair`);
  return name;
}

module.exports = { NotJson, toJson };
