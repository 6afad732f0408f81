// The last images of a large sweep, which the kernel sends again for each page.

import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./load.mjs";

test("an image that is sent again stays in its place, and only the last are kept", () => {
  const nodes = [];
  const strip = { prepend: (node) => nodes.unshift(node) };
  const el = (_tag, _name, { alt }) => ({
    alt, remove() { nodes.splice(nodes.indexOf(this), 1); }, removeAttribute() {},
  });
  const { LastImages } = load(["busy.js", "sweep.js"], ["LastImages"], {
    el, URL: { createObjectURL: (blob) => `blob:${blob.size}`, revokeObjectURL() {} },
    watched: (render) => render,
  });
  const lasts = new LastImages(strip, (place) => `cell ${place}`);
  for (const place of [0, 1, 0, 1]) lasts.show(place, new Uint8Array(3));
  assert.deepEqual(nodes.map(({ alt }) => alt), ["cell 1", "cell 0"]);
  for (let place = 2; place < 30; place += 1) lasts.show(place, new Uint8Array(3));
  assert.equal(nodes.length, 24);
  assert.deepEqual([nodes[0].alt, nodes.at(-1).alt], ["cell 29", "cell 6"]);
});
