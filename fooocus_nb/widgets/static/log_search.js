// The search in a log, and the matches in a line.

// The query is text, not a pattern: all characters that mean something in one are escaped.
function searchPattern(query) {
  return query ? new RegExp(query.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gi") : null;
}

// Splits a line into parts as [text, whether it matches].
function splitMatches(text, pattern) {
  if (!pattern) return text ? [[text, false]] : [];
  const parts = [];
  let from = 0;
  pattern.lastIndex = 0; // left behind by the last test
  for (const match of text.matchAll(pattern)) {
    parts.push([text.slice(from, match.index), false], [match[0], true]);
    from = match.index + match[0].length;
  }
  parts.push([text.slice(from), false]);
  return parts.filter(([part]) => part);
}

// Finds lines; the numbers of those that match are kept as lines come and go.
class Search {
  constructor(rows) {
    this.rows = rows;
    this.pattern = null;
    this.clear();
  }

  clear() {
    this.found = [];
    this.current = -1;
    this.upTo = this.rows.store.first;
  }

  start(query) {
    this.pattern = searchPattern(query);
    this.restart();
    this.current = this.found.length - 1;
  }

  restart() {
    const kept = this.found[this.current];
    this.clear();
    this.extend();
    this.current = this.found.indexOf(kept);
  }

  extend() {
    if (!this.pattern) return;
    const { store, rank } = this.rows;
    for (let number = Math.max(this.upTo, store.first); number < store.end; number += 1) {
      this.pattern.lastIndex = 0;
      if (RANK[store.level(number)] >= rank && this.pattern.test(store.text(number))) this.found.push(number);
    }
    this.upTo = store.end;
  }

  step(by) {
    const length = this.found.length;
    if (!length) return;
    this.current = this.current < 0 && by < 0 ? length - 1 : (this.current + by + length) % length;
  }

  get number() {
    return this.found[this.current];
  }

  get label() {
    if (!this.pattern) return "";
    if (!this.found.length) return "no match";
    const total = this.found.length.toLocaleString();
    return this.current < 0 ? `${total} found` : `${(this.current + 1).toLocaleString()} of ${total}`;
  }
}

function fillRow(node, text, pattern) {
  const parts = splitMatches(text, pattern).map(([part, matches]) =>
    matches ? el("mark", "fnb-log-mark", {}, part) : part,
  );
  // Strings are appended as text, never as HTML; an empty row keeps its height.
  node.replaceChildren(...(parts.length ? parts : ["\u200b"]));
}
