// The check of a source, without running any of it. Runs in a process that is thrown away.
'use strict';

const { createRequire, stripTypeScriptTypes } = require('node:module');
const vm = require('node:vm');

function noFunction(name) {
  const other = name === 'main' ? 'export default async function main' : `export async function ${name}`;
  return (
    `The code exports no function named ${name}; write \`${other}(params) {...}\`, ` +
    `or \`${name === 'main' ? 'module.exports = main' : `exports.${name} = ${name}`}\`.`
  );
}
const WRAPPED = ['exports', 'require', 'module', '__filename', '__dirname'];
const TYPED =
  /^\s*(?:export\s+)?(?:interface|type|enum|declare|abstract\s+class)\s+\w|^\s*import\s+type\s|[\w)\]?]\s*:\s*(?:string|number|boolean|any|unknown|void|never|object|[A-Z]\w*)\b/m;

/** What a source is: `{kind: 'cjs' | 'mjs', code}`. Throws what is wrong with it, as `SourceError`. */
function read(code) {
  // Node's loader skips such a line, and lines keep their numbers.
  code = code.replace(/^\ufeff/, '').replace(/^#!/, '//');
  const plain = kindOf(code);
  if (plain.kind) return { kind: plain.kind, code };
  if (!TYPED.test(code)) throw plain.fault;
  if (stripTypeScriptTypes === undefined) {
    const found = `this server has Node ${process.versions.node}`;
    const { line, column } = plain.fault;
    throw new SourceError(
      `This looks like TypeScript, which needs Node 22.13 or later, and ${found}; compile it to ` +
        `JavaScript first (${plain.fault.message})`, line, column,
    );
  }
  let stripped;
  try {
    stripped = stripTypeScriptTypes(code);
  } catch (error) {
    throw located(error) ?? plain.fault;
  }
  const typed = kindOf(stripped);
  if (!typed.kind) throw typed.fault;
  return { kind: typed.kind, code: stripped };
}

/** What is wrong with a source, and where. */
class SourceError extends Error {
  constructor(message, line, column) {
    super(message);
    Object.assign(this, { line, column });
  }
}

function kindOf(code) {
  let asScript;
  try {
    vm.compileFunction(code, WRAPPED, { filename: 'function.cjs' });
    return { kind: 'cjs' };
  } catch (error) {
    asScript = error;
  }
  try {
    new vm.SourceTextModule(code, { identifier: 'function.mjs' });
    return { kind: 'mjs' };
  } catch (error) {
    const isModule = /^\s*(?:import|export)\b/m.test(code);
    return { fault: (isModule ? locatedInModule(error, code) : located(asScript)) ?? asFault(error) };
  }
}

function asFault(error) {
  return new SourceError(`${error?.name ?? 'Error'}: ${error?.message}`);
}

/** Line and column of a syntax error, as its stack begins with them: place, line, and `^` below it. */
function located(error) {
  const found = /^[^\n]*:(\d+)\n([^\n]*)\n( *)\^/.exec(error?.stack ?? '');
  if (!found) return null;
  return new SourceError(`${error.name}: ${error.message}`, Number(found[1]), found[3].length + 1);
}

/** Node does not tell where in a module an error is. So the same text is read as a script, with what
 * only modules have blanked out, and asked for the same error. */
function locatedInModule(error, code) {
  const blank = (text) => text.replace(/[^\n]/g, ' ');
  const script = code
    .replace(/^([ \t]*)import\s*(?:[\w$\s{},*]+?\s*from\s*)?(['"])[^'"\n]*\2/gm, blank)
    .replace(/^([ \t]*)export\s*(?:\*(?:\s*as\s+[\w$]+)?|\{[^}]*\})\s*(?:from\s*(['"])[^'"\n]*\2)?/gm, blank)
    .replace(/^([ \t]*)export default(?=[\s({[])/gm, '$1var __default=')
    .replace(/^([ \t]*)export(?=\s)/gm, '$1      ');
  try {
    vm.compileFunction(`return(async()=>{"use strict";\n${script}\n})`, [], {
      filename: 'function.mjs', lineOffset: -1,
    });
  } catch (other) {
    if (other.message === error.message) return located(other);
  }
  if (error.message !== 'Unexpected end of input') return null;
  const lines = code.trimEnd().split('\n');
  return new SourceError(`${error.name}: ${error.message}`, lines.length, lines.at(-1).length + 1);
}

/** `{}` if the code parses and exports `main`, as far as that can be known without running it, else
 * what is wrong and where. */
async function check(code, name) {
  try {
    const source = read(code);
    const found = source.kind === 'mjs' ? await exportsIt(source.code, name) : mentionsExports(source.code);
    return found ? {} : { message: noFunction(name) };
  } catch (error) {
    const { message, line, column } = error instanceof SourceError ? error : asFault(error);
    return { message, line, column };
  }
}

function mentionsExports(code) {
  return /\b(?:exports|module)\b/.test(code);
}

/** Links the module with others that have what it imports and nothing in them. If that does not come
 * about, loading will tell. */
async function exportsIt(code, name) {
  try {
    const module = new vm.SourceTextModule(code, { identifier: 'function.mjs' });
    await module.link((specifier) => new vm.SyntheticModule(importedFrom(specifier, code), () => {}));
    return 'default' in module.namespace || name in module.namespace || /^\s*export\s*\*/m.test(code);
  } catch {
    return true;
  }
}

/** The names that a module imports from another, as far as they stand there plainly. */
function importedFrom(specifier, code) {
  const builtin = /^node:/.test(specifier) ? namesOf(specifier) : [];
  const names = new Set(['default', ...builtin]);
  for (const [, list] of code.matchAll(/(?:import|export)\s[^;'"]*?\{([^}]*)\}\s*from/g)) {
    for (const one of list.split(',')) {
      const name = one.trim().split(/\s+as\s+/)[0];
      if (/^[\w$]+$/.test(name)) names.add(name);
    }
  }
  return [...names];
}

function namesOf(specifier) {
  try {
    return Object.keys(createRequire('/')(specifier));
  } catch {
    return [];
  }
}

module.exports = { SourceError, check, noFunction, read };
