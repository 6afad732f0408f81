// What is asked of the Jupyter server instead of a busy kernel, and what where there is none.

import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./load.mjs";

const PAGE = { baseUrl: "/user/x/", token: "" };

function browser(config, answers) {
  const asked = [];
  return {
    asked,
    document: {
      cookie: "a=b; _xsrf=2%7Cabc",
      getElementById: () => config && { textContent: JSON.stringify(config) },
    },
    async fetch(url, options) {
      asked.push([options.method, url, options.headers, options.body]);
      const answer = answers[url.replace("/user/x/fooocus-nb/api/", "")];
      if (!answer) throw new TypeError("Failed to fetch");
      return { ok: true, ...answer };
    },
    URL: { createObjectURL: (blob) => `blob:${blob.size}`, revokeObjectURL() {} },
    setTimeout: () => 0,
    clearTimeout() {},
    AbortController,
  };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test("the extension is asked for once, and only where a Jupyter page is", async () => {
  const page = browser(PAGE, { status: {}, x: {} });
  const { askExtension } = load(["server.js"], ["askExtension"], page);
  assert.ok((await askExtension("x")).ok);
  assert.ok((await askExtension("x", { method: "POST", body: "{}" })).ok);
  assert.deepEqual(page.asked.map(([method, url]) => `${method} ${url}`), [
    "GET /user/x/fooocus-nb/api/status",
    "GET /user/x/fooocus-nb/api/x",
    "POST /user/x/fooocus-nb/api/x",
  ]);
  assert.deepEqual(page.asked[1][2], {});
  assert.deepEqual(page.asked[2][2], { "X-XSRFToken": "2|abc" });
  const elsewhere = browser(null, { status: {} });
  assert.equal(await load(["server.js"], ["askExtension"], elsewhere).askExtension("x"), null);
  assert.equal(elsewhere.asked.length, 0);
  const without = browser(PAGE, {});
  assert.equal(await load(["server.js"], ["askExtension"], without).askExtension("x"), null);
  assert.equal(without.asked.length, 1);
});

test("a server that did not answer is asked again, one without the extension is not", async () => {
  const answers = {};
  const page = browser(PAGE, answers);
  const { extensionAnswers } = load(["server.js"], ["extensionAnswers"], page);
  assert.equal(await extensionAnswers(), false);
  answers.status = {};
  assert.equal(await extensionAnswers(), true);
  const without = browser(PAGE, { status: { ok: false } });
  const other = load(["server.js"], ["extensionAnswers"], without);
  assert.deepEqual([await other.extensionAnswers(), await other.extensionAnswers()], [false, false]);
  assert.equal(without.asked.length, 1);
});

test("an original comes from the server, and from the kernel where the server has none", async () => {
  const image = { blob: async () => new Blob([new Uint8Array(5)]) };
  const page = browser(PAGE, { status: {}, "images/known": image, "images/gone": { ok: false } });
  const { ImageCache } = load(["server.js", "gallery_images.js"], ["ImageCache"], page);
  const sent = [];
  const model = { send: (message) => sent.push(message) };
  const cache = new ImageCache(model, "viewer-1", (id) => ["known", "gone", ""][id]);
  assert.equal((await cache.original(0)).blob.size, 5);
  assert.equal(sent.length, 0);
  const other = cache.original(1);
  await settled();
  cache.original(2);
  assert.deepEqual(sent.map(({ kind, id }) => [kind, id]), [["original", 1], ["original", 2]]);
  cache.takeOriginal({ id: 1, mime: "image/png" }, [new Uint8Array(3)]);
  assert.equal((await other).blob.size, 3);
});

test("a command goes through the server, and what it refuses is told", async () => {
  const refused = { ok: false, status: 409, json: async () => ({ message: "It has ended." }) };
  const page = browser(PAGE, {
    status: {}, "engines/7/generation/skip": {}, "engines/8/generation/stop": refused,
  });
  const { commandServer } = load(["server.js", "monitor.js"], ["commandServer"], {
    ...page, watched: (render) => render,
  });
  assert.equal(await commandServer({ pid: "7", session: "s" }, "skip"), "");
  assert.equal(page.asked.at(-1)[3], '{"session":"s"}');
  assert.equal(await commandServer({ pid: "8", session: "s" }, "stop"), "It has ended.");
  assert.equal(await commandServer({}, "stop"), null);
  assert.equal(await commandServer({ pid: "9", session: "s" }, "stop"), null);
});
