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
    this.pattern = query ? new RegExp(query.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gi") : null;
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
  node.textContent = "";
  if (!pattern) {
    node.textContent = text || "\u200b";
    return;
  }
  let from = 0;
  pattern.lastIndex = 0; // left behind by the last test
  for (const match of text.matchAll(pattern)) {
    node.append(text.slice(from, match.index), el("mark", "fnb-log-mark", {}, match[0]));
    from = match.index + match[0].length;
  }
  node.append(text.slice(from) || "\u200b");
}
