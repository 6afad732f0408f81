// The grid of a run as a widget: what its page asks for is asked of the kernel.

const KEPT_THUMBNAILS = 900;
const KEPT_BYTES = 64e6; // those of a zoomed view are large
const KEPT_ORIGINALS = 8;
const ANSWER_MS = 20_000;
const NAMES = [
  "key", "number", "at", "state", "reason", "seed", "rating", "note", "width", "height", "name", "measures",
];

function cellOf(row) {
  return Object.fromEntries(NAMES.map((name, index) => [name, row[index]]));
}

// What a page holds of a model's run; each view draws it.
class RunStore {
  constructor(model) {
    this.model = model;
    this.viewer = viewerId();
    this.cells = new Map();
    this.outdated = new Set(); // keys that were there before the grid that is on its way
    this.coming = undefined; // how many cells of that grid are still to come, where one is
    this.thumbs = new Map(); // by key: {side, url, bytes}
    this.bytes = 0;
    this.wanted = new Map(); // by key: {side, waiting}
    this.originals = new Map();
    this.asked = new Map();
    this.last = 0;
    this.grids = new Set();
    this.flush = debounced(() => this.sendWanted(), 40);
    this.take({ kind: "grid", ...model.get("first") }, []);
  }

  // -- what the kernel sends ------------------------------------------------------------------

  take(message, buffers) {
    switch (message.kind) {
      case "grid":
        this.begin(message);
        this.takeCells(message.cells);
        break;
      case "cells":
        this.takeCells(message.cells);
        break;
      case "thumbs":
        message.thumbs.forEach(([key, side], index) => this.takeThumb(key, side, buffers[index]));
        break;
      case "broken":
        for (const [key, text] of message.broken) this.fail(key, text);
        break;
      case "answer":
        if (message.viewer === this.viewer) this.takeAnswer(message, buffers);
        break;
      case "rated":
        for (const grid of this.grids) grid.patch(message.key, { rating: message.rating, note: message.note });
        break;
    }
  }

  // The kernel sends all of a grid to all pages, whenever one asks for it, in parts. What is here
  // stays until it has come, or an image that is open or marked would be gone for a moment.
  begin(message) {
    if (JSON.stringify(message.axes) !== JSON.stringify(this.about?.axes)) this.cells.clear();
    this.about = message;
    this.outdated = new Set(this.cells.keys());
    this.coming = message.count;
  }

  takeCells(rows = []) {
    for (const row of rows) {
      const cell = cellOf(row);
      if (this.outdated.delete(cell.key)) this.cells.delete(cell.key); // and to its new place
      this.cells.set(cell.key, cell);
    }
    if (this.coming !== undefined) this.coming -= rows.length;
    if (this.coming <= 0) {
      for (const key of this.outdated) this.cells.delete(key);
      this.outdated.clear();
      this.coming = undefined;
    }
    for (const grid of this.grids) grid.update(this.state());
  }

  state() {
    const { axes, title, where } = this.about;
    return { axes, title, where, cells: [...this.cells.values()] };
  }

  takeThumb(key, side, buffer) {
    const old = this.thumbs.get(key);
    const url = URL.createObjectURL(new Blob([buffer], { type: "image/webp" }));
    this.thumbs.delete(key);
    this.thumbs.set(key, { side, url, bytes: buffer.byteLength });
    this.bytes += buffer.byteLength - (old?.bytes ?? 0);
    if (old) setTimeout(() => URL.revokeObjectURL(old.url), 5_000); // it may still be decoded
    while (this.thumbs.size > KEPT_THUMBNAILS || (this.bytes > KEPT_BYTES && this.thumbs.size > 1)) {
      const [oldest, gone] = this.thumbs.entries().next().value;
      URL.revokeObjectURL(gone.url);
      this.bytes -= gone.bytes;
      this.thumbs.delete(oldest);
    }
    const request = this.wanted.get(key);
    if (request && request.side <= side) {
      this.wanted.delete(key);
      for (const { resolve } of request.waiting) resolve(url);
    }
  }

  fail(key, text) {
    const request = this.wanted.get(key);
    this.wanted.delete(key);
    for (const { reject } of request?.waiting || []) reject(new Error(text));
  }

  takeAnswer(message, buffers) {
    const request = this.asked.get(message.ask);
    if (!request) return;
    this.asked.delete(message.ask);
    clearTimeout(request.timer);
    if (message.error) request.reject(new Error(message.error));
    else request.resolve({ ...message, buffers });
  }

  // -- what a view asks for -------------------------------------------------------------------

  thumbnail(key, side, signal) {
    const known = this.thumbs.get(key);
    if (known && known.side >= side) {
      this.thumbs.delete(key); // and to the end again: the least recently used is dropped first
      this.thumbs.set(key, known);
      return known.url;
    }
    return new Promise((resolve, reject) => {
      const request = this.wanted.get(key) ?? { side: 0, waiting: [] };
      request.side = Math.max(request.side, side);
      const mine = { resolve, reject };
      request.waiting.push(mine);
      this.wanted.set(key, request);
      signal.addEventListener("abort", () => {
        request.waiting = request.waiting.filter((other) => other !== mine);
        if (!request.waiting.length && this.wanted.get(key) === request) this.wanted.delete(key);
        reject(new Error(""));
        this.flush();
      });
      this.flush();
    });
  }

  // All that is still wanted: what is not in the list is not made any more.
  sendWanted() {
    const wants = [...this.wanted].map(([key, { side }]) => [key, side]);
    this.model.send({ kind: "thumbs", wants });
  }

  ask(kind, content) {
    this.last += 1;
    const ask = this.last;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.asked.delete(ask);
        reject(new Error("The kernel is busy: try again when it responds."));
      }, ANSWER_MS);
      this.asked.set(ask, { resolve, reject, timer });
      this.model.send({ kind, ...content, ask, viewer: this.viewer });
    });
  }

  async original(key) {
    const known = this.originals.get(key);
    if (known) return known;
    const { buffers, mime } = await this.ask("original", { key });
    const blob = new Blob([buffers[0]], { type: mime });
    const original = { blob, url: URL.createObjectURL(blob) };
    this.originals.set(key, original);
    while (this.originals.size > KEPT_ORIGINALS) {
      const [oldest, { url }] = this.originals.entries().next().value;
      URL.revokeObjectURL(url);
      this.originals.delete(oldest);
    }
    return original;
  }

  close() {
    this.flush.cancel();
    for (const { url } of this.thumbs.values()) URL.revokeObjectURL(url);
    for (const { url } of this.originals.values()) URL.revokeObjectURL(url);
    for (const { timer } of this.asked.values()) clearTimeout(timer);
  }
}

const runStores = new Map();

function initialize({ model }) {
  const uid = model.get("uid");
  const store = new RunStore(model);
  runStores.set(uid, store);
  const onMessage = (message, buffers) => store.take(message, buffers);
  model.on("msg:custom", onMessage);
  model.send({ kind: "open" });
  return () => {
    model.off("msg:custom", onMessage);
    store.close();
    runStores.delete(uid);
  };
}

// Asks the extension of JupyterLab, where it runs, for a cell below the one of this view.
function insertBelow(text, node) {
  const asked = new CustomEvent("fooocus-nb:insert-cell", { cancelable: true, detail: { text, node } });
  return !document.dispatchEvent(asked);
}

function render({ model, el: host }) {
  const store = runStores.get(model.get("uid"));
  const { roles, writable, handOn } = store.about;
  const grid = mountRunGrid(host, {
    ...store.state(), roles, handOn,
    thumbnail: (key, side, signal) => store.thumbnail(key, side, signal),
    original: (key) => store.original(key),
    details: (key) => store.ask("details", { key }),
    onRate: writable ? (key, rating) => store.ask("rate", { key, rating }) : null,
    onNote: writable ? (key, note) => store.ask("note", { key, note }) : null,
    onHandOn: (what, key) => store.ask("hand_on", { what, key }),
    insertCell: insertBelow,
  });
  store.grids.add(grid);
  return () => {
    store.grids.delete(grid);
    grid.destroy();
  };
}

export default { initialize, render: watched(render) };
