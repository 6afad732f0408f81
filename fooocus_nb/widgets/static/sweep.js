// The grid of a sweep: a tile for each cell, which fills as images come.

const WORDS = {
  w: "waiting", r: "in the making", m: "made", f: "failed", s: "skipped", l: "left for later",
};
const ANSWER_MS = 1500;
const MAX_LAST = 24;

function initialize({ model }) {
  model.send({ kind: "hello" });
}

class Tile {
  constructor(place, label, skip) {
    this.place = place;
    this.label = label;
    this.sign = "";
    this.node = el("div", "fnb-sweep-tile", { role: "img" });
    this.image = el("img", "", { alt: "", decoding: "async" });
    this.url = new ImageUrl(this.image);
    this.url.show(null);
    this.bar = el("div", "fnb-sweep-bar");
    this.bar.append(el("div", ""));
    this.bar.hidden = true;
    this.out = button("fnb-sweep-out", "×", "Skip this cell");
    this.out.addEventListener("click", () => skip(place));
    this.out.hidden = true;
    this.node.append(this.image, this.bar, this.out);
  }
  state(sign, reason) {
    if (sign === this.sign && reason === this.reason) return;
    if (sign !== this.sign && sign !== "m" && sign !== "r") this.url.show(null);
    this.sign = sign;
    this.reason = reason;
    this.node.dataset.state = sign;
    this.out.hidden = sign !== "w";
    const text = `${this.label}: ${WORDS[sign] || ""}${reason ? ` (${reason})` : ""}`;
    this.node.title = text;
    this.node.setAttribute("aria-label", text);
    if (sign !== "r") this.bar.hidden = true;
  }
  progress(percent) {
    this.bar.hidden = false;
    this.bar.firstChild.style.width = `${percent}%`;
  }
}

// The last images of a sweep that is too large for tiles, the newest first.
class LastImages {
  constructor(strip, labelOf) {
    this.strip = strip;
    this.labelOf = labelOf;
    this.shown = []; // {place, url}
  }
  // The kernel sends all again to each page that asks: what is here stays in its place.
  show(place, data) {
    const known = this.shown.find((last) => last.place === place);
    if (known) {
      known.url.show(data);
      return;
    }
    const label = this.labelOf(place);
    const image = el("img", "", { alt: label, title: label });
    const url = new ImageUrl(image);
    url.show(data);
    this.strip.prepend(image);
    this.shown.unshift({ place, url });
    for (const old of this.shown.splice(MAX_LAST)) {
      old.url.show(null);
      old.url.image.remove();
    }
  }
  clear() {
    for (const { url } of this.shown) url.show(null);
  }
}

function render({ model, el: host }) {
  const root = el("div", "fnb-widget fnb-sweep", {
    role: "group",
    "aria-label": "Sweep",
    "data-lm-suppress-shortcuts": "true",
  });
  const head = el("div", "fnb-sweep-head");
  const title = el("div", "fnb-sweep-title");
  const buttons = el("div", "fnb-sweep-buttons");
  const skip = button("", "Skip", "Skip the cell in the making");
  const stop = button("fnb-sweep-stop", "Stop", "Stop; what is made stays");
  const resume = button("fnb-sweep-continue", "Continue", "Make what is left");
  buttons.append(skip, stop, resume);
  head.append(title, buttons);
  const track = el("div", "fnb-sweep-track", {
    role: "progressbar", "aria-label": "Progress", "aria-valuemin": "0",
  });
  const parts = { made: el("div", ""), failed: el("div", ""), skipped: el("div", "") };
  for (const [name, node] of Object.entries(parts)) {
    node.dataset.part = name;
    track.append(node);
  }
  const facts = el("div", "fnb-sweep-facts");
  const counts = el("span", "", { role: "status" });
  const times = el("span", "fnb-dim fnb-tabular");
  facts.append(counts, times);
  const note = el("div", "fnb-sweep-note", { role: "alert" });
  const grid = el("div", "fnb-sweep-grid");
  const strip = el("div", "fnb-sweep-strip", { role: "group", "aria-label": "Last images" });
  const where = el("div", "fnb-sweep-where fnb-dim");
  root.append(head, track, facts, note, grid, strip, where);
  host.append(root);

  const tiles = [];
  const lasts = new LastImages(strip, (place) => tiles[place]?.label || "");
  const send = (message) => model.send(message);

  function build() {
    const labels = model.get("labels") || [];
    const shape = model.get("shape") || {};
    const columns = shape.columns || [];
    root.dataset.tiles = shape.tiles ? "yes" : "no";
    strip.hidden = !!shape.tiles;
    grid.replaceChildren();
    tiles.length = 0;
    if (columns.length) {
      const hasRows = (shape.rows || []).length > 1;
      root.dataset.table = "yes";
      grid.style.gridTemplateColumns =
        `${hasRows ? "minmax(0, 132px) " : ""}repeat(${columns.length}, minmax(36px, 96px))`;
      if (hasRows) grid.append(el("div", "fnb-sweep-corner", { title: shape.axis }, shape.axis));
      for (const text of columns) grid.append(el("div", "fnb-sweep-column", { title: text }, text));
    }
    labels.forEach((label, place) => {
      if (columns.length && (shape.rows || []).length > 1 && place % columns.length === 0) {
        const text = shape.rows[place / columns.length] || "";
        grid.append(el("div", "fnb-sweep-row", { title: text }, text));
      }
      const tile = new Tile(place, label, (chosen) => send({ kind: "skip", place: chosen }));
      tiles.push(tile);
      grid.append(tile.node);
    });
    if (shape.more > 0) grid.append(el("div", "fnb-dim", {}, `${shape.more} more cells`));
  }

  function drawView() {
    const view = model.get("view") || {};
    const planned = Math.max(view.planned || 0, 1);
    title.textContent = view.title || "";
    title.title = view.title || "";
    for (const [name, node] of Object.entries(parts)) {
      node.style.width = `${(100 * (view[name] || 0)) / planned}%`;
    }
    const ended = (view.made || 0) + (view.failed || 0) + (view.skipped || 0);
    track.setAttribute("aria-valuemax", String(view.planned || 0));
    track.setAttribute("aria-valuenow", String(ended));
    // A live region is read aloud whenever it is written to, even with the same text.
    const told = { stopping: "Stopping: ", stopped: "Stopped: " }[view.state] || "";
    const text = told + (view.counts || "");
    if (counts.textContent !== text) counts.textContent = text;
    times.textContent = view.times || "";
    where.textContent = view.where || "";
    where.title = view.where || "";
    const running = view.state === "running";
    stop.hidden = !(running || view.state === "stopping");
    stop.disabled = !running;
    skip.hidden = !running || model.get("control") === "interrupt";
    resume.hidden = !view.resumable;
    root.dataset.active = running && model.get("control") !== "interrupt" ? "yes" : "no";
    if (running) resume.disabled = false;
    if (view.state !== asked) calm();
    drawStates();
    for (const [place, percent] of view.running || []) tiles[place]?.progress(percent);
  }

  function drawStates() {
    const signs = model.get("states") || "";
    const reasons = (model.get("view") || {}).reasons || {};
    for (let place = 0; place < tiles.length; place += 1) {
      tiles[place].state(signs[place] || "w", reasons[place] || "");
    }
  }

  let asked = "";
  let timer = 0;
  function calm() {
    asked = (model.get("view") || {}).state;
    clearTimeout(timer);
    note.textContent = "";
  }
  function ask(message) {
    send(message);
    clearTimeout(timer);
    timer = setTimeout(() => {
      note.textContent = "The kernel is busy with a cell and does not respond.";
    }, ANSWER_MS);
  }
  stop.addEventListener("click", async () => {
    if (model.get("control") !== "interrupt") {
      stop.disabled = true;
      ask({ kind: "stop" });
      return;
    }
    stop.disabled = true;
    if (!(await interruptKernel(model.get("kernel_id")))) {
      note.textContent = "The kernel is busy: use the notebook's own stop button.";
      stop.disabled = false;
    }
  });
  skip.addEventListener("click", () => {
    // Those that are seen: when the message arrives, others may run.
    const running = ((model.get("view") || {}).running || []).map(([place]) => place);
    send({ kind: "skip", running });
  });
  resume.addEventListener("click", () => {
    resume.disabled = true;
    ask({ kind: "continue" });
  });

  function onMessage(message, buffers) {
    const tile = tiles[message.place];
    const data = buffers?.[0];
    if (!data) return;
    if (message.kind === "image" && root.dataset.tiles !== "yes") lasts.show(message.place, data);
    else if (message.kind === "image" && tile) tile.url.show(data);
    else if (message.kind === "preview" && tile && tile.sign === "r") tile.url.show(data);
  }

  model.on("change:view", drawView);
  model.on("change:states", drawStates);
  model.on("msg:custom", onMessage);
  build();
  drawView();
  send({ kind: "hello" });
  return () => {
    clearTimeout(timer);
    for (const tile of tiles) tile.url.show(null);
    lasts.clear();
    model.off("change:view", drawView);
    model.off("change:states", drawStates);
    model.off("msg:custom", onMessage);
  };
}

export default { initialize, render: watched(render) };
