// The history of the mask editor: undo, redo, and painting after an undo.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { MaskHistory } = load(["mask_history.js"], ["MaskHistory"]);
const png = (...bytes) => new Uint8Array(bytes);

function historyOf(...steps) {
  const history = new MaskHistory();
  for (const step of steps) history.add(step);
  return history;
}

test("undo and redo go through the steps, and no further", () => {
  const history = historyOf(png(1), png(2));
  assert.deepEqual([history.canUndo, history.canRedo], [true, false]);
  assert.equal(history.move(1), false);
  assert.equal(history.move(-1), true);
  assert.deepEqual(history.current, png(1));
  assert.equal(history.move(-1), true);
  assert.deepEqual([history.current, history.canUndo], [null, false]);
  assert.equal(history.move(-1), false);
  assert.equal(history.move(1), true);
  assert.deepEqual(history.current, png(1));
});

test("painting after an undo replaces the steps that were undone", () => {
  const history = historyOf(png(1), png(2), png(3));
  history.move(-1);
  history.move(-1);
  history.add(png(4));
  assert.deepEqual([history.current, history.canRedo], [png(4), false]);
  assert.equal(history.move(1), false);
  history.move(-1);
  assert.deepEqual(history.current, png(1));
  history.move(1);
  assert.deepEqual(history.current, png(4));
  assert.deepEqual(history.steps, [null, png(1), png(4)]);
});

test("a mask that did not change is no step", () => {
  const history = historyOf(png(1), png(1));
  assert.equal(history.steps.length, 2);
  history.add(png(1, 2));
  history.add(null);
  history.add(null);
  assert.deepEqual(history.steps, [null, png(1), png(1, 2), null]);
});

test("the history is bounded, and keeps the newest steps", () => {
  const history = historyOf(...Array.from({ length: 200 }, (_, n) => png(n)));
  assert.equal(history.steps.length, 50);
  assert.deepEqual(history.current, png(199));
  assert.deepEqual([history.canUndo, history.canRedo], [true, false]);
});
