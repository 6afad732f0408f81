// The control panel: the search over its fields, and the order of its messages.

import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, load } from "./load.mjs";

const { searchWords, matchesAll } = load(["panel_search.js"], ["searchWords", "matchesAll"]);

test("every word of a search must be found, as text", () => {
  const field = "lora 1: weight lora_1_weight";
  const fits = (text) => matchesAll(field, searchWords(text));
  assert.equal(fits("  LoRA   weight "), true);
  assert.equal(fits("lora sampler"), false);
  assert.equal(fits(""), true);
  assert.equal(fits("lora.1"), false);
});

function wireOf() {
  const sent = [];
  const late = [];
  const { tick, ...timers } = clock();
  const { Wire } = load(["panel_controls.js"], ["Wire"], { ...timers, viewerId: () => "v" });
  const wire = new Wire({ send: (message) => sent.push(message) }, (isLate) => late.push(isLate));
  return { wire, sent, late, tick };
}

test("changes are collected for a moment, and sent before a command", () => {
  const { wire, sent, tick } = wireOf();
  wire.change("prompt", "a");
  wire.change("prompt", "ab");
  wire.change("steps", 3);
  assert.deepEqual(sent, []);
  wire.command({ kind: "generate" });
  assert.deepEqual(sent, [
    { kind: "set", changes: { prompt: "ab", steps: 3 }, id: "v-1" }, { kind: "generate", id: "v-2" },
  ]);
  wire.change("prompt", "abc");
  tick(250);
  assert.deepEqual(sent.at(-1), { kind: "set", changes: { prompt: "abc" }, id: "v-3" });
  wire.stop();
});

test("a value is busy until the kernel has confirmed it, and a late kernel is noted", () => {
  const { wire, late, tick } = wireOf();
  wire.change("prompt", "a", true);
  assert.deepEqual([wire.busy("prompt"), wire.busy("steps")], [true, false]);
  tick(1500);
  assert.deepEqual(late, [true]);
  wire.took("other-1"); // the kernel tells all pages
  assert.equal(wire.busy("prompt"), true);
  wire.took("v-1");
  assert.deepEqual([wire.busy("prompt"), late], [false, [true, false]]);
});
