// The log view tells the kernel when its last view on a page is gone, so that the kernel stops.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

test("a page that is left says so, and only where it showed the log", () => {
  const listeners = new Map();
  const window = {
    addEventListener: (name, act) => listeners.set(name, act),
    removeEventListener: (name) => listeners.delete(name),
  };
  const { initialize, stores } = load(
    ["log_rows.js", "log_search.js", "log_view.js"],
    ["initialize", "stores"],
    { window, viewerId: () => "viewer-1" },
  );
  const sent = [];
  const model = {
    get: (name) => (name === "uid" ? "u" : { epoch: 0 }),
    send: (message) => sent.push(message),
    on() {},
    off() {},
  };
  const remove = initialize({ model });
  const store = stores.get("u");
  listeners.get("pagehide")();
  assert.deepEqual(sent, []);
  store.views = 1;
  store.open();
  listeners.get("pagehide")();
  assert.deepEqual(sent.at(-1), { kind: "shut", viewer: "viewer-1" });
  remove();
  assert.equal(listeners.size + stores.size, 0);
});
