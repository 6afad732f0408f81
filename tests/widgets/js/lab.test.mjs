// JupyterLab's list of engines: what is asked of the server, and what a failure leaves.

import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./load.mjs";

function listOf(answer) {
  const { EngineList } = load(["../../labextension/static/engines.js"], ["EngineList"], {
    document: { visibilityState: "hidden" },
    setInterval() {},
  });
  const app = { serviceManager: { serverSettings: { baseUrl: "/" } } };
  const emitted = [];
  return [new EngineList(app, {
    coreutils: { URLExt: { join: (...parts) => parts.join("/") } },
    services: { ServerConnection: { makeRequest: answer } },
    signaling: { Signal: class { emit() { emitted.push(1); } } },
  }), emitted];
}

const found = (...names) => ({ ok: true, json: async () => ({ engines: names.map((name) => ({ name })) }) });

test("who asks while a list is on its way gets a newer one", async () => {
  const waiting = [];
  const [list] = listOf(() => new Promise((resolve) => waiting.push(resolve)));
  const one = list.refresh();
  const other = list.refresh();
  waiting[0](found("old"));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(list.engines, [{ name: "old" }]);
  assert.equal(waiting.length, 2);
  waiting[1](found("new"));
  await Promise.all([one, other]);
  assert.deepEqual(list.engines, [{ name: "new" }]);
  assert.equal(waiting.length, 2);
});

test("a failure is kept for who asks for an engine", async () => {
  let answer = { ok: false, status: 403, statusText: "Forbidden", json: async () => ({}) };
  const [list] = listOf(async () => answer);
  await list.refresh();
  assert.deepEqual([list.failure, list.engines], ["Forbidden", []]);
  answer = found("one");
  await list.refresh();
  assert.deepEqual([list.failure, list.engines], ["", [{ name: "one" }]]);
});

for (const accept of [false, true]) {
  test(`all engines are stopped from the palette where that is ${accept ? "" : "not "}wanted`, async () => {
    const { EngineCommands } = load(["../../labextension/static/commands.js"], ["EngineCommands"]);
    const stopped = [];
    const dialogs = [];
    const list = {
      engines: [{ name: "one", state: "busy" }, { name: "two", state: "asleep" }, { name: "three", state: "ready" }],
      failure: "",
      async refresh() {},
      async stop(name) { stopped.push(name); },
    };
    const apputils = {
      Dialog: { cancelButton: () => "cancel", warnButton: ({ label }) => label },
      async showDialog(dialog) { dialogs.push(dialog); return { button: { accept } }; },
    };
    const commands = new EngineCommands({}, { apputils }, list);
    await commands.stopAllAsked();
    assert.match(dialogs[0].body, /^one, three: /);
    assert.deepEqual(stopped, accept ? ["one", "three"] : []);
  });
}

for (const [what, given, names, refreshes] of [
  ["the only engine", undefined, ["one"], 1],
  ["an engine by its name", "one", ["one", "two"], 1],
  ["one that was picked, which takes a while", undefined, ["one", "two"], 2],
]) {
  test(`the server is asked what ${what} does before it is stopped, and not twice`, async () => {
    const { EngineCommands } = load(["../../labextension/static/commands.js"], ["EngineCommands"]);
    let asked = 0;
    const stopped = [];
    const list = {
      engines: names.map((name) => ({ name, state: "ready" })),
      failure: "",
      async refresh() { asked += 1; },
      async stop(name) { stopped.push(name); },
    };
    const apputils = {
      Dialog: {},
      InputDialog: { getItem: async () => ({ button: { accept: true }, value: "one" }) },
    };
    await new EngineCommands({}, { apputils }, list).stop(given);
    assert.deepEqual([asked, stopped], [refreshes, ["one"]]);
  });
}
