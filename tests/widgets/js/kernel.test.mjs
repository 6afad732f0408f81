// What a view does for the notebook around it: keys that save go on, all others stay.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

class Key {
  constructor(type, facts) {
    Object.assign(this, { type, ...facts });
  }
}
const { handOn } = load(["kernel.js"], ["handOn"], { KeyboardEvent: Key });

function pressed(facts, taken) {
  const seen = [];
  const host = { parentElement: { dispatchEvent: (event) => { seen.push(event); return !taken; } } };
  const done = [];
  const event = {
    isTrusted: true, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...facts,
    preventDefault: () => done.push("prevented"), stopPropagation: () => done.push("stopped"),
  };
  handOn(event, host);
  return [seen, done];
}

test("what saves the notebook is handed on, and stays the browser's where nobody takes it", () => {
  for (const facts of [{ key: "s", ctrlKey: true }, { key: "S", metaKey: true }]) {
    const [seen, done] = pressed(facts, true);
    assert.equal(seen[0].key, facts.key);
    assert.equal(seen[0].bubbles, true);
    assert.deepEqual(done, ["prevented", "stopped"]);
    assert.deepEqual(pressed(facts, false)[1], []);
  }
});

test("all other keys stay in the view", () => {
  for (const facts of [
    { key: "s" }, { key: "b", ctrlKey: true }, { key: "s", ctrlKey: true, altKey: true },
    { key: "s", ctrlKey: true, shiftKey: true }, { key: "s", ctrlKey: true, isTrusted: false },
  ]) {
    assert.deepEqual(pressed(facts, true), [[], []]);
  }
});
