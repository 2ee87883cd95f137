// The files of a version that has more than one, in the worker's own scratch folder.
//
// The server has checked every path. What is written here is this worker's alone, and read-only.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

/** Writes the files into `root`. `encoded`: of each file its path and what is in it, both with their length in four bytes
 * before it. */
function unpack(root, encoded) {
  const folders = new Set([root]);
  let at = 0;
  const part = () => {
    const end = at + 4 + encoded.readUInt32BE(at);
    const found = encoded.subarray(at + 4, end);
    at = end;
    return found;
  };
  while (at < encoded.length) {
    const file = path.join(root, part().toString());
    const content = part();
    const around = path.dirname(file);
    if (!folders.has(around)) fs.mkdirSync(around, { recursive: true });
    for (let folder = around; !folders.has(folder); folder = path.dirname(folder)) folders.add(folder);
    fs.writeFileSync(file, content, { flag: 'wx', mode: 0o444 });
  }
  for (const folder of folders) {
    try {
      fs.chmodSync(folder, 0o555);
    } catch {
      // Some walls let nobody change a mode.
    }
  }
}

module.exports = { unpack };
