// The log view: the lines that it holds, filter, search, and what is drawn of a match.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { LogStore, Rows, Layout, Search, searchPattern, splitMatches } = load(
  ["log_rows.js", "log_search.js"],
  ["LogStore", "Rows", "Layout", "Search", "searchPattern", "splitMatches"],
);

// A store of lines, each with its level in front: "e broken" is an error.
function storeOf(...lines) {
  const store = new LogStore();
  store.reset({ epoch: 1, pending: "", more: 0, ...batch(lines) });
  return store;
}

function batch(lines) {
  return {
    text: lines.map((line) => line.slice(2)).join("\n"),
    levels: lines.map((line) => line[0]).join(""),
    count: lines.length,
  };
}

function found(query, ...texts) {
  const search = new Search(new Rows(storeOf(...texts.map((text) => `i ${text}`))));
  search.start(query);
  return search.found;
}

test("a search takes characters of patterns as text", () => {
  for (const character of ".*+?^${}()|[]\\/-") {
    assert.deepEqual(found(`a${character}b`, "axb", `a${character}b`, "ab"), [1], character);
  }
  assert.deepEqual(found("C:\\models (old)[1].ckpt", "c:\\MODELS (OLD)[1].CKPT", "C:models old1"), [0]);
  assert.deepEqual(found("(", "open ("), [0]);
});

test("a search finds whatever the case, and each line once", () => {
  assert.deepEqual(found("needle", "Needle needle", "hay", "NEEDLE"), [0, 2]);
  assert.equal(searchPattern(""), null);
  assert.deepEqual(found("", "anything"), []);
});

test("a search steps around its matches and keeps its place as lines come", () => {
  const store = storeOf("i a1", "i b", "i a2");
  const search = new Search(new Rows(store));
  search.start("a");
  assert.deepEqual([search.number, search.label], [2, "2 of 2"]);
  search.step(1);
  assert.equal(search.number, 0);
  search.step(-1);
  assert.equal(search.number, 2);
  store.append({ ...batch(["i a3"]), pending: "" });
  search.extend();
  assert.deepEqual([search.number, search.label], [2, "2 of 3"]);
  search.start("nothing like it");
  assert.equal(search.label, "no match");
});

test("a search looks only at the levels that are shown", () => {
  const rows = new Rows(storeOf("i broken", "w broken", "e broken"));
  rows.filter(1);
  const search = new Search(rows);
  search.start("broken");
  assert.deepEqual(search.found, [1, 2]);
});

test("a line is split at its matches, and nothing of it is lost or changed", () => {
  const evil = "<img src=x onerror=alert(1)> needle </pre><b>needle";
  assert.deepEqual(splitMatches(evil, searchPattern("needle")), [
    ["<img src=x onerror=alert(1)> ", false], ["needle", true], [" </pre><b>", false], ["needle", true],
  ]);
  for (const query of ["<", "n", "x", "alert(1)", "absent"]) {
    const parts = splitMatches(evil, searchPattern(query));
    assert.equal(parts.map(([text]) => text).join(""), evil, query);
  }
  assert.deepEqual(splitMatches("plain", null), [["plain", false]]);
  assert.deepEqual(splitMatches("", searchPattern("x")), []);
});

test("the text of a row is appended as text, before a match and after it", () => {
  const appended = [];
  const node = { replaceChildren: (...parts) => appended.push(...parts) };
  const mark = (tag, className, attributes, text) => ({ tag, text });
  const { fillRow } = load(["log_rows.js", "log_search.js"], ["fillRow"], { el: mark });
  fillRow(node, "<b>a</b> needle <i>", searchPattern("needle"));
  assert.deepEqual(appended, ["<b>a</b> ", { tag: "mark", text: "needle" }, " <i>"]);
  appended.length = 0;
  fillRow(node, "", null);
  assert.deepEqual(appended, ["\u200b"]); // or the row would have no height
});

test("a filter shows lines of a level and above, also those that come later", () => {
  const store = storeOf("i one", "w two", "e three", "n [started again]");
  const rows = new Rows(store);
  assert.equal(rows.length, 4);
  rows.filter(1);
  assert.deepEqual(rows.numbers, [1, 2]);
  store.append({ ...batch(["i four", "e five"]), pending: "" });
  rows.extend();
  assert.deepEqual(rows.numbers, [1, 2, 5]);
  assert.equal(rows.indexOf(3), 2); // the next line that is shown
  rows.filter(2);
  assert.deepEqual(rows.numbers, [2, 5]);
  rows.filter(0);
  assert.deepEqual([rows.length, rows.at(5)], [6, 5]);
});

test("earlier lines have negative numbers, and the counts include them", () => {
  const store = storeOf("i zero", "e one");
  store.prepend({ ...batch(["e before", "w before"]), more: 7 });
  assert.deepEqual([store.first, store.end, store.more], [-2, 2, 7]);
  assert.deepEqual([store.text(-2), store.level(-1), store.text(1)], ["before", "w", "one"]);
  assert.deepEqual([store.counts.e, store.counts.w], [2, 1]);
});

test("what is held of a log is bounded", () => {
  const store = storeOf("e first");
  const lines = batch(Array.from({ length: 110_000 }, (_, n) => `i ${n}`));
  store.append({ ...lines, pending: "" });
  store.append({ ...lines, pending: "" });
  assert.equal(store.texts.length, 200_000);
  assert.equal(store.end, 220_001);
  assert.deepEqual([store.counts.e, store.full], [0, true]);
});

test("wrapped rows stand below each other, as estimated or as measured", () => {
  const rows = new Rows(storeOf("i short", `i ${"x".repeat(25)}`, "i short"));
  const layout = new Layout(rows);
  layout.height = 10;
  assert.deepEqual([layout.update(), layout.find(15)], [30, 1]);
  layout.columns = 10;
  assert.equal(layout.update(), 50);
  assert.deepEqual([0, 1, 2].map((index) => layout.top(index)), [0, 10, 40]);
  assert.deepEqual([layout.find(9), layout.find(39), layout.find(1000)], [0, 1, 2]);
  assert.equal(layout.correct(1, 20), true);
  assert.equal(layout.update(), 40);
  assert.equal(layout.correct(1, 20), false);
});
