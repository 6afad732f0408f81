// The lines of a log that a browser holds, and their positions on the screen.

// As many as a browser scrolls smoothly; the log file has the rest.
const MAX_HELD = 200_000;
const TRIM = 20_000;
const RANK = { i: 0, n: 0, w: 1, e: 2 };

// Lines by number: 0 is the first that came with the epoch, earlier ones have negative numbers.
class LogStore {
  constructor() {
    this.listeners = new Set();
    this.state = "";
    this.reset({ epoch: 0, text: "", levels: "", count: 0, pending: "", more: 0 });
  }

  reset(batch) {
    this.epoch = batch.epoch;
    this.first = 0;
    this.texts = [];
    this.levels = [];
    this.pending = "";
    this.more = batch.more || 0;
    this.place = batch.place || ""; // of the first line, in the log
    this.longest = 0;
    this.counts = { i: 0, n: 0, w: 0, e: 0 };
    this.dropped = false;
    this.append(batch);
    this.tell("reset");
  }

  get end() {
    return this.first + this.texts.length;
  }

  text(number) {
    return number === this.end ? this.pending : this.texts[number - this.first];
  }

  level(number) {
    return number === this.end ? "i" : this.levels[number - this.first];
  }

  append(batch) {
    if (batch.count) {
      for (const text of batch.text.split("\n")) this.note(text, this.texts);
      for (const level of batch.levels) this.count(level, this.levels);
    }
    this.pending = batch.pending || "";
    const surplus = this.texts.length - MAX_HELD;
    if (surplus > TRIM) {
      for (const level of this.levels.splice(0, surplus)) this.counts[level] -= 1;
      this.texts.splice(0, surplus);
      this.first += surplus;
      this.dropped = true;
    }
    this.tell("append");
  }

  prepend(batch) {
    const texts = [];
    const levels = [];
    if (batch.count) {
      for (const text of batch.text.split("\n")) this.note(text, texts);
      for (const level of batch.levels) this.count(level, levels);
    }
    this.texts = texts.concat(this.texts);
    this.levels = levels.concat(this.levels);
    this.first -= texts.length;
    this.more = batch.more;
    this.place = batch.place || "";
    this.tell("prepend");
  }

  get full() {
    return this.dropped || this.texts.length >= MAX_HELD;
  }

  note(text, texts) {
    texts.push(text);
    if (text.length > this.longest) this.longest = text.length;
  }

  count(level, levels) {
    levels.push(level);
    this.counts[level] += 1;
  }

  tell(what) {
    for (const listener of this.listeners) listener(what);
  }
}

// Which lines are shown: all of them, or those of a level, by their numbers.
class Rows {
  constructor(store) {
    this.store = store;
    this.rank = 0;
    this.rebuild();
  }

  filter(rank) {
    this.rank = rank;
    this.rebuild();
  }

  rebuild() {
    const { store } = this;
    this.numbers = null;
    this.upTo = store.end;
    if (!this.rank) return;
    this.numbers = [];
    this.add(store.first, store.end);
  }

  extend() {
    const { store } = this;
    if (this.numbers) {
      this.add(this.upTo, store.end);
      let gone = 0;
      while (gone < this.numbers.length && this.numbers[gone] < store.first) gone += 1;
      if (gone) this.numbers.splice(0, gone);
    }
    this.upTo = store.end;
  }

  add(from, to) {
    for (let number = from; number < to; number += 1) {
      if (RANK[this.store.level(number)] >= this.rank) this.numbers.push(number);
    }
  }

  get length() {
    if (this.numbers) return this.numbers.length;
    return this.store.texts.length + (this.store.pending ? 1 : 0);
  }

  at(index) {
    return this.numbers ? this.numbers[index] : this.store.first + index;
  }

  // The row of a line, or of the next one that is shown.
  indexOf(number) {
    if (!this.numbers) return Math.max(number - this.store.first, 0);
    let low = 0;
    let high = this.numbers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.numbers[middle] < number) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

// Positions of rows. Unwrapped ones are all of one height; heights of wrapped ones are
// estimated from their lengths, and corrected when they are drawn.
class Layout {
  constructor(rows) {
    this.rows = rows;
    this.height = 17;
    this.columns = 0;
    this.clear();
  }

  clear() {
    this.measured = new Map();
    this.tops = new Float64Array(1024);
    this.known = 0;
  }

  update() {
    const length = this.rows.length;
    if (!this.columns) return length * this.height;
    if (this.tops.length < length + 1) {
      const larger = new Float64Array(2 * (length + 1));
      larger.set(this.tops);
      this.tops = larger;
    }
    for (; this.known < length; this.known += 1) {
      this.tops[this.known + 1] = this.tops[this.known] + this.heightOf(this.known);
    }
    return this.tops[length];
  }

  heightOf(index) {
    const number = this.rows.at(index);
    const measured = this.measured.get(number);
    if (measured) return measured;
    const lines = Math.ceil(this.rows.store.text(number).length / this.columns);
    return Math.max(lines, 1) * this.height;
  }

  // Stores a height as drawn; returns whether it was estimated wrongly.
  correct(index, height) {
    if (!this.columns || Math.abs(this.heightOf(index) - height) < 1) return false;
    this.measured.set(this.rows.at(index), height);
    this.forget(index);
    return true;
  }

  forget(from) {
    this.known = Math.max(Math.min(this.known, from), 0);
  }

  top(index) {
    return this.columns ? this.tops[index] : index * this.height;
  }

  // The row at a distance from the top.
  find(y) {
    const length = this.rows.length;
    if (!this.columns) return Math.min(Math.max(Math.floor(y / this.height), 0), Math.max(length - 1, 0));
    let low = 0;
    let high = length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.tops[middle + 1] <= y) low = middle + 1;
      else high = middle;
    }
    return Math.min(low, Math.max(length - 1, 0));
  }
}
