// The gallery: sorting, filtering, selecting, keys, and the images that a page holds.

import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, load } from "./load.mjs";

const { parseFilter, sortedCards, parameterNames } = load(
  ["gallery_cards.js"], ["parseFilter", "sortedCards", "parameterNames"],
);
const { gridTarget, toggled, withRange, boxAction } = load(
  ["gallery_moves.js"], ["gridTarget", "toggled", "withRange", "boxAction"],
);

const CARDS = [
  { id: 0, name: "b10.png", seed: "1152921504606846977", width: 64, height: 48, date: 30,
    prompt: "A red Lighthouse", rows: [["guidance_scale", "4.5"], ["style_selections", "SAI Anime"]] },
  { id: 1, name: "b9.png", seed: "1152921504606846976", width: 128, height: 48, date: 10,
    prompt: "a harbour (old) [x]", rows: [["guidance_scale", "12"], ["sampler_name", "euler"]] },
  { id: 2, name: "broken.png", error: "No image that can be read (UnidentifiedImageError)." },
];

function filtered(text) {
  return CARDS.filter(parseFilter(text)).map((card) => card.id);
}

function sorted(key, descending = false) {
  return sortedCards(CARDS, key, descending).map((card) => card.id);
}

test("every word of a filter must be there, whatever its case", () => {
  assert.deepEqual(filtered(""), [0, 1, 2]);
  assert.deepEqual(filtered("lighthouse RED"), [0]);
  assert.deepEqual(filtered("lighthouse harbour"), []);
  assert.deepEqual(filtered("(old) [x]"), [1]); // text, not a pattern
  assert.deepEqual(filtered("unidentified"), [2]);
});

test("a filter looks into one parameter by its short or its full name", () => {
  assert.deepEqual(filtered("style:anime"), [0]);
  assert.deepEqual(filtered('style:"sai anime"'), [0]);
  assert.deepEqual(filtered("sampler=eul"), []);
  assert.deepEqual(filtered("sampler=EULER"), [1]);
  assert.deepEqual(filtered("cfg>4.5"), [1]); // as a number: as text, "12" comes first
  assert.deepEqual(filtered("guidance_scale<5"), [0]);
  assert.deepEqual(filtered("guidance_scale>x"), []);
  assert.deepEqual(filtered("size:64x48"), [0]);
  assert.deepEqual(filtered("seed:6977"), [0]);
});

test("cards are sorted as text, numbers and large seeds, and unknown values come last", () => {
  assert.deepEqual(sorted("name"), [1, 0, 2]);
  assert.deepEqual(sorted("seed"), [1, 0, 2]); // they differ beyond what a number holds
  assert.deepEqual(sorted("seed", true), [0, 1, 2]);
  assert.deepEqual(sorted("guidance_scale"), [0, 1, 2]);
  assert.deepEqual(sorted("guidance_scale", true), [1, 0, 2]);
  assert.deepEqual(sorted("date", true), [0, 1, 2]);
  assert.deepEqual(sorted("order", true), [2, 1, 0]);
  assert.deepEqual(parameterNames(CARDS), ["guidance_scale", "sampler_name", "style_selections"]);
});

test("Up and Down keep the column, and stay where there is no row", () => {
  const at = (active, key) => gridTarget(key, { active, count: 10, columns: 4, page: 8 });
  assert.equal(at(1, "ArrowDown"), 5);
  assert.equal(at(5, "ArrowUp"), 1);
  assert.equal(at(9, "ArrowUp"), 5);
  assert.equal(at(1, "ArrowUp"), -1);
  assert.equal(at(7, "ArrowDown"), -1);
  assert.deepEqual([at(1, "ArrowLeft"), at(1, "ArrowRight"), at(0, "ArrowLeft")], [0, 2, -1]);
  assert.deepEqual([at(3, "Home"), at(3, "End")], [0, 9]);
  assert.deepEqual([at(9, "PageUp"), at(3, "PageUp"), at(3, "PageDown")], [1, 0, 9]);
  assert.deepEqual(["a", "Enter", "toString"].map((key) => at(3, key)), [null, null, null]);
});

test("selecting keeps the order, and selecting again takes out", () => {
  assert.deepEqual(toggled([], 3), [3]);
  assert.deepEqual(toggled([3, 1], 2), [3, 1, 2]);
  assert.deepEqual(toggled([3, 1, 2], 1), [3, 2]);
  const cards = [5, 6, 7, 8].map((id) => ({ id }));
  assert.deepEqual(withRange([], cards, 1, 3), [6, 7, 8]);
  assert.deepEqual(withRange([8, 5], cards, 2, 1), [8, 5, 6, 7]);
  assert.deepEqual(withRange([8, 5], cards, 3, 2), [8, 5, 7]);
});

test("in the open image keys act, and chords belong to the browser", () => {
  const keys = { c: "copy", d: "download", ArrowLeft: "previous", ArrowRight: "next", 0: "fit", " ": "select" };
  for (const [key, action] of Object.entries(keys)) {
    assert.equal(boxAction({ key }, false), action);
    for (const chord of ["ctrlKey", "metaKey", "altKey"]) {
      assert.equal(boxAction({ key, [chord]: true }, false), "", `${chord} ${key}`);
    }
  }
  assert.equal(boxAction({ key: " " }, true), ""); // it presses the button
  assert.equal(boxAction({ key: "c" }, true), "copy");
  assert.equal(boxAction({ key: "toString" }, false), "");
});

function cacheOf(sent) {
  const { tick, ...timers } = clock();
  const { ImageCache } = load(["gallery_images.js"], ["ImageCache"], {
    URL: { createObjectURL: (blob) => `blob:${blob.size}`, revokeObjectURL() {} },
    ...timers,
  });
  const cache = new ImageCache({ send: (message) => sent.push(message) }, "viewer-1");
  return { cache, tick };
}

test("an original is requested once, kept, and requested again only when it was dropped", async () => {
  const sent = [];
  const { cache } = cacheOf(sent);
  const [one, two] = [cache.original(0), cache.original(0)];
  assert.equal(sent.length, 1);
  assert.equal(cache.takeOriginal({ id: 0, mime: "image/png" }, [new Uint8Array(3)]), false);
  assert.equal((await one).blob.size, 3);
  assert.equal(await one, await two);
  await cache.original(0);
  assert.equal(sent.length, 1);
  for (let id = 1; id <= 8; id += 1) {
    const wanted = cache.original(id);
    cache.takeOriginal({ id, mime: "image/png" }, [new Uint8Array(1)]);
    await wanted;
  }
  assert.equal(cache.originals.size, 8);
  cache.original(0);
  assert.equal(sent.length, 10);
  cache.clear();
});

test("an original that does not come, or cannot, says why and may be requested again", async () => {
  const sent = [];
  const { cache, tick } = cacheOf(sent);
  const late = cache.original(0);
  tick(20_000);
  await assert.rejects(late, /kernel is busy/);
  assert.equal(cache.takeOriginal({ id: 1, error: "It cannot be read." }, []), false);
  assert.equal(cache.takeOriginal({ id: 1, mime: "image/png" }, [new Uint8Array(1)]), true);
  const broken = cache.original(0);
  cache.takeOriginal({ id: 0, error: "It cannot be read." }, []);
  await assert.rejects(broken, /cannot be read/);
  assert.equal(sent.length, 2);
});
