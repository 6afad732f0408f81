// Loads scripts of the widgets, joined as the package joins them, and a clock to try them with.

import { readFileSync } from "node:fs";

const STATIC = new URL("../../../fooocus_nb/widgets/static/", import.meta.url);

// Returns the named functions and classes of the scripts. What they use of a browser is given.
export function load(files, names, globals = {}) {
  const source = files.map((file) => readFileSync(new URL(file, STATIC), "utf8")).join("\n")
    .replace(/^import .*$/gm, "").replace(/^export default .*$/m, "").replace(/^export /gm, "");
  const given = Object.keys(globals);
  const make = new Function(...given, `"use strict";\n${source}\nreturn { ${names.join(", ")} };`);
  return make(...given.map((name) => globals[name]));
}

// Timers that run when the test says so.
export function clock() {
  const timers = new Map();
  let now = 0;
  let last = 0;
  return {
    setTimeout(act, milliseconds) {
      timers.set(++last, { act, due: now + milliseconds });
      return last;
    },
    clearTimeout: (id) => timers.delete(id),
    tick(milliseconds) {
      now += milliseconds;
      for (const [id, { act, due }] of [...timers]) {
        if (due <= now && timers.delete(id)) act();
      }
    },
  };
}
