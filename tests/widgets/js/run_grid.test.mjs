// The grid of a run: what is where, what passes a filter, what is on the screen, zoom and keys.

import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, load } from "./load.mjs";

const model = load(["run_grid_model.js"], [
  "arranged", "captionOf", "differing", "fittingTile", "geometry", "gridAction", "movedBy", "neighbour",
  "newRating", "NO_ZOOM", "parseGridFilter", "positionOf", "restAxes", "spotsOf", "starsOf",
  "thumbnailSide", "visibleBlocks", "withRole", "zoomedBy",
]);

function axis(name, label, texts) {
  return { name, label, texts, shorts: texts };
}

const AXES = [
  axis("guidance_scale", "guidance_scale", ["3", "5", "7"]), axis("image_seed", "seed", ["6687881544318117706", "6687881544318117707"]),
  axis("base_model", "base_model", ["v8", "v9"]),
];
const CELLS = [];
AXES[0].texts.forEach((_, x) => AXES[1].texts.forEach((seed, y) => AXES[2].texts.forEach((__, z) => {
  const number = CELLS.length;
  CELLS.push({
    key: `k${number}`, number, at: [x, y, z], state: "made", reason: "", seed, note: "", width: 96, height: 72,
    rating: number === 2 ? 4 : number === 3 ? 0 : null, measures: { sharpness: number === 5 ? null : number / 2 },
  });
})));
CELLS[7].state = "failed";
CELLS[7].reason = "The GPU has too little memory";
CELLS[1].note = "Fine light";
const TEXT = { gutter: 60, columns: 24, heading: 26, caption: 20 };

function found(text) {
  return CELLS.filter(model.parseGridFilter(text, AXES)).map((cell) => cell.number);
}

test("an axis that has a role already changes places with the other", () => {
  const roles = { x: 0, y: 1, z: 2 };
  assert.deepEqual(model.withRole(roles, "x", 1), { x: 1, y: 0, z: 2 });
  assert.deepEqual(model.withRole(roles, "z", -1), { x: 0, y: 1, z: -1 });
  assert.deepEqual(model.withRole({ x: 0, y: -1, z: -1 }, "y", 0), { x: -1, y: 0, z: -1 });
  assert.deepEqual(model.restAxes(AXES, { x: 0, y: -1, z: 2 }), [1]);
});

test("every cell has its place, and what has no role is side by side", () => {
  const layout = model.arranged(CELLS, AXES, { x: 0, y: 1, z: -1 });
  assert.deepEqual([layout.columns, layout.rows, layout.blocks], [[0, 1, 2], [0, 1], [-1]]);
  assert.equal(layout.perPlace, 2);
  assert.deepEqual(layout.places.get("-1,1,0").map((cell) => cell.number), [2, 3]);
  assert.equal(model.captionOf(CELLS[3], AXES, { x: 0, y: 1, z: -1 }, layout, 200), "base_model v9");
  assert.equal(model.captionOf(CELLS[3], AXES, { x: 0, y: 1, z: -1 }, layout, 64), "v9");
  const one = model.arranged(CELLS, AXES, { x: 0, y: 1, z: -1 }, { 2: 1 });
  assert.equal(one.perPlace, 1);
  assert.equal(one.shown, 6);
});

test("rows and columns without a cell that passes are left out", () => {
  const passes = model.parseGridFilter("rating>=1", AXES);
  const layout = model.arranged(CELLS, AXES, { x: 0, y: 1, z: 2 }, {}, passes);
  assert.deepEqual([layout.columns, layout.rows, layout.blocks, layout.shown], [[0], [1], [0], 1]);
});

test("nothing overlaps, and what is seen through a window is what lies in it", () => {
  const layout = model.arranged(CELLS, AXES, { x: 0, y: 1, z: 2 });
  const sizes = model.geometry(layout, { width: 500, tile: 80, ratio: 4 / 3, text: TEXT });
  const spots = model.spotsOf(layout);
  assert.equal(spots.length, 12);
  const boxes = spots.map((spot) => model.positionOf(spot, sizes));
  boxes.forEach((box, i) => boxes.forEach((other, j) => {
    if (i === j) return;
    assert.ok(Math.abs(box.x - other.x) >= sizes.tile || Math.abs(box.y - other.y) >= sizes.high, `${i} ${j}`);
  }));
  assert.ok(Math.max(...boxes.map((box) => box.y + sizes.high)) <= sizes.height);
  const seen = model.visibleBlocks(layout, sizes, { left: 0, top: 0, right: 100, bottom: 60 });
  assert.deepEqual(seen.map((block) => [block.index, block.columns, block.rows]), [[0, [0, 1], [0, 1]]]);
});

test("without rows it is a flow that fills the width", () => {
  const layout = model.arranged(CELLS, AXES, { x: 0, y: -1, z: -1 });
  assert.ok(layout.flow);
  const tile = model.fittingTile(layout, { width: 700, ratio: 1, text: TEXT });
  const sizes = model.geometry(layout, { width: 700, tile, ratio: 1, text: TEXT });
  assert.equal(sizes.across, 4);
  assert.ok(sizes.width <= 700 && sizes.width > 690);
  const spots = model.spotsOf(layout);
  assert.equal(model.positionOf(spots[4], sizes).x, 0);
  assert.match(model.captionOf(CELLS[0], AXES, { x: 0, y: -1, z: -1 }, layout), /^3 · seed 66\d+ · base_model v8$/);
});

test("keys go left and right in reading order, up and down by what is seen", () => {
  const layout = model.arranged(CELLS, AXES, { x: 0, y: 1, z: 2 });
  const sizes = model.geometry(layout, { width: 300, tile: 64, ratio: 1, text: TEXT });
  const spots = model.spotsOf(layout);
  const go = (from, key) => model.neighbour(spots, sizes, from, key, 200);
  assert.deepEqual([go(0, "ArrowRight"), go(0, "ArrowLeft"), go(11, "ArrowRight")], [1, 0, 11]);
  assert.deepEqual([go(1, "ArrowDown"), go(4, "ArrowUp"), go(4, "ArrowDown")], [4, 1, 7]);
  assert.deepEqual([go(5, "Home"), go(5, "End"), go(11, "ArrowDown")], [0, 11, 11]);
});

test("a filter has words, values, comparisons and states", () => {
  assert.deepEqual(found("fine LIGHT"), [1]);
  assert.deepEqual(found('note:"fine light"'), [1]);
  assert.equal(found("v9").length, 6);
  assert.equal(found("guidance_scale>3").length, 8);
  assert.equal(found("guidance_scale>=3 guidance_scale<=5").length, 8);
  assert.equal(found("seed=6687881544318117707").length, 6); // as a number, both seeds are the same
  assert.equal(found("image_seed>6687881544318117706").length, 6);
  assert.deepEqual(found("rating=4"), [2]);
  assert.deepEqual(found("rating=0"), [3]);
  assert.deepEqual(found("rating<1"), [3]); // not those that are not rated
  assert.deepEqual(found("is:failed"), [7]);
  assert.equal(found("is:unrated").length, 9);
  assert.deepEqual(found("memory"), [7]);
  assert.deepEqual(found("nonsense>1"), []);
});

test("a measure that is no number is never found by a comparison", () => {
  assert.ok(!found("sharpness>=0").includes(5));
  assert.ok(!found("sharpness<=100").includes(5));
  assert.deepEqual(found("sharpness>4"), [9, 10, 11]);
});

test("zoom keeps the point under the pointer, and never leaves the image", () => {
  const zoom = model.zoomedBy(model.NO_ZOOM, 2, 0.25, -0.25);
  assert.deepEqual(zoom, { scale: 2, x: -0.25, y: 0.25 });
  assert.deepEqual(model.movedBy(zoom, -9, 9), { scale: 2, x: -0.5, y: 0.5 });
  assert.deepEqual(model.zoomedBy(zoom, 0.1), { scale: 1, x: 0, y: 0 });
  assert.equal(model.zoomedBy(model.NO_ZOOM, 1000).scale, 24);
});

test("thumbnails are as large as they are seen, and no larger", () => {
  assert.equal(model.thumbnailSide(120, 1), 160);
  assert.equal(model.thumbnailSide(170, 1), 160);
  assert.equal(model.thumbnailSide(170, 1, 2), 320);
  assert.equal(model.thumbnailSide(170, 3), 640);
  assert.equal(model.thumbnailSide(400, 9), 1280);
});

test("digits rate, the same once more takes it away, and chords are the browser's", () => {
  assert.equal(model.gridAction({ key: "4" }), "rate4");
  assert.equal(model.gridAction({ key: "6" }), "");
  assert.equal(model.gridAction({ key: "S" }), "settings");
  assert.equal(model.gridAction({ key: "s", ctrlKey: true }), "");
  assert.equal(model.gridAction({ key: "toString" }), "");
  assert.equal(model.gridAction({ key: "PageDown" }), "move");
  assert.deepEqual([model.newRating(null, 4), model.newRating(4, 4), model.newRating(0, 0)], [4, null, null]);
  assert.deepEqual([model.starsOf(3), model.starsOf(0), model.starsOf(null)], ["★★★", "✕", ""]);
});

test("a comparison names what differs", () => {
  const rows = [["seed", "1"], ["cfg", "3"]];
  assert.deepEqual(model.differing(rows, [["seed", "1"], ["cfg", "5"], ["note", "x"]]), [["cfg", "3", "5"], ["note", "", "x"]]);
});

function store(sent, extra = {}) {
  const time = clock();
  const { RunStore } = load(["run_grid_widget.js"], ["RunStore"], {
    ...time, viewerId: () => "me", watched: (render) => render,
    debounced: (work) => Object.assign(() => work(), { cancel() {} }),
    Blob: class {}, URL: { createObjectURL: () => `blob:${sent.length}`, revokeObjectURL() {} }, ...extra,
  });
  const first = { axes: [], cells: [["k0", 1, [0], "made", "", "7", null, "", 9, 9, "a.png", {}]] };
  const made = new RunStore({ get: () => first, send: (message) => sent.push(message) });
  return { made, time };
}

test("the kernel is told of all thumbnails that are still wanted, and only of those", async () => {
  const sent = [];
  const { made } = store(sent);
  const [one, two] = [new AbortController(), new AbortController()];
  const first = made.thumbnail("k0", 160, one.signal);
  const second = made.thumbnail("k1", 320, two.signal);
  assert.deepEqual(sent.at(-1), { kind: "thumbs", wants: [["k0", 160], ["k1", 320]] });
  two.abort();
  await assert.rejects(second);
  assert.deepEqual(sent.at(-1).wants, [["k0", 160]]);
  made.take({ kind: "thumbs", thumbs: [["k0", 160]] }, [new ArrayBuffer(1)]);
  assert.match(await first, /^blob:/);
  assert.equal(typeof made.thumbnail("k0", 160, one.signal), "string"); // and is kept
  made.take({ kind: "thumbs", thumbs: [["k8", 1280], ["k9", 1280]] }, [new ArrayBuffer(4e7), new ArrayBuffer(4e7)]);
  assert.deepEqual([...made.thumbs.keys()], ["k9"]); // bounded by what they weigh
  const broken = made.thumbnail("k2", 160, one.signal);
  made.take({ kind: "broken", broken: [["k2", "The file is gone."]] }, []);
  await assert.rejects(broken, /The file is gone/);
});

test("an answer goes to who has asked, an error is one, and silence ends", async () => {
  const sent = [];
  const { made, time } = store(sent);
  const answer = made.ask("rate", { key: "k0", rating: 3 });
  const { ask } = sent.at(-1);
  made.take({ kind: "answer", ask, viewer: "another page" }, []);
  made.take({ kind: "answer", ask, viewer: "me", error: "only to be read" }, []);
  await assert.rejects(answer, /only to be read/);
  const late = made.ask("details", { key: "k0" });
  time.tick(20_000);
  await assert.rejects(late, /busy/);
  assert.equal(made.cells.get("k0").seed, "7");
});

test("what a page shows stays until a grid that comes in parts is whole", () => {
  const { made } = store([]);
  const row = (key) => [key, 1, [0], "made", "", "7", null, "", 9, 9, "a.png", {}];
  const shown = () => made.state().cells.map(({ key }) => key);
  made.take({ kind: "grid", axes: [], count: 3, cells: [row("k1"), row("k2")] }, []);
  assert.deepEqual(shown(), ["k0", "k1", "k2"]);
  made.take({ kind: "cells", cells: [row("k0")] }, []);
  assert.deepEqual(shown(), ["k1", "k2", "k0"]);
  made.take({ kind: "grid", axes: [], count: 3, cells: [row("k0"), row("k3")] }, []);
  made.take({ kind: "cells", cells: [row("k1")] }, []);
  assert.deepEqual(shown(), ["k0", "k3", "k1"]); // k2 is gone, and the order is the new one
  made.take({ kind: "cells", cells: [row("k3")] }, []); // a change, in its place
  assert.deepEqual(shown(), ["k0", "k3", "k1"]);
  made.take({ kind: "grid", axes: [{ name: "seed" }], count: 2, cells: [row("k9")] }, []);
  assert.deepEqual(shown(), ["k9"]); // other axes: what is here has no place on them
  made.take({ kind: "grid", axes: [{ name: "seed" }], count: 0, cells: [] }, []);
  assert.deepEqual(shown(), []);
});
