// The parts of a run's grid that stand apart: stars, a cell to copy, the open image, a comparison.

class Stars {
  constructor(onRate) {
    this.root = el("div", "fnb-rg-stars", { role: "group", "aria-label": "Rating" });
    this.buttons = [0, 1, 2, 3, 4, 5].map((rating) => {
      const one = button("fnb-rg-star", rating ? "\u2605" : "\u2715", rating ? `Rate ${rating} (${rating})` : "Reject (0)");
      one.addEventListener("click", () => onRate(newRating(this.rating, rating)));
      this.root.append(one);
      return one;
    });
    this.rating = null;
  }

  show(rating, enabled) {
    this.rating = rating ?? null;
    this.buttons.forEach((one, index) => {
      one.disabled = !enabled;
      const lit = this.rating !== null && (index === 0 ? this.rating === 0 : index <= this.rating);
      one.classList.toggle("fnb-rg-lit", lit);
      one.setAttribute("aria-pressed", String(this.rating === index));
    });
  }
}

// `done` is what has been done with it already: "inserted", "copied" or "".
function showCell(host, text, done) {
  const bar = el("div", "fnb-rg-cell-bar");
  const words = { inserted: "Inserted below as a cell.", copied: "Copied: paste it into a new cell." };
  const told = el("span", "fnb-dim", { role: "status" }, words[done] || "Copy this into a new cell.");
  const copy = button("", "Copy");
  const close = button("fnb-rg-icon", "\u2715", "Close");
  copy.addEventListener("click", async () => {
    const done = await copyText(text, host);
    told.textContent = done ? "Copied: paste it into a new cell." : "The browser does not allow copying: select the text.";
  });
  close.addEventListener("click", () => {
    host.hidden = true;
  });
  bar.append(told, copy, close);
  host.replaceChildren(bar, el("pre", "fnb-rg-code", { tabindex: "0" }, text));
  host.hidden = false;
}

// What is known of a cell without asking: the values on the axes, the seed and the measures.
function knownRows(cell, axes) {
  const rows = valuesOf(cell, axes);
  if (!axes.some((axis) => axis.name === "image_seed")) rows.push(["seed", cell.seed || ""]);
  for (const [name, value] of Object.entries(cell.measures || {})) rows.push([name, value === null ? "" : numberText(value)]);
  rows.push(["rating", starsOf(cell.rating)], ["note", cell.note || ""]);
  rows.push(["size", cell.width ? `${cell.width} \u00d7 ${cell.height}` : ""], ["file", cell.name || ""]);
  return rows.filter(([, value]) => value !== "");
}

class RunBox {
  constructor(grid) {
    this.grid = grid;
    this.key = null;
    const { box, show } = dialog("fnb-box fnb-rg-box", "Image", grid.root);
    this.box = box;
    this.open = show;
    this.stage = el("div", "fnb-box-stage", {
      tabindex: "0", role: "group",
      "aria-label": "Image. Arrows: another one. 0 to 5: rate. Plus and minus: zoom. Escape: back.",
    });
    this.image = el("img", "fnb-box-image", { draggable: "false", decoding: "async" });
    this.busy = el("div", "fnb-box-busy", { role: "status" });
    const back = button("fnb-box-turn fnb-box-back", "\u2039", "Previous image");
    const forth = button("fnb-box-turn fnb-box-forth", "\u203a", "Next image");
    this.stage.append(this.image, this.busy, back, forth);
    this.ends = [back, forth];
    this.zoom = new Zoom(this.stage, this.image, () => {
      if (this.level) this.level.textContent = this.zoom?.label ?? "";
    });
    box.append(this.stage, this.buildSide());
    back.addEventListener("click", () => this.step("ArrowLeft"));
    forth.addEventListener("click", () => this.step("ArrowRight"));
    box.addEventListener("keydown", (event) => this.press(event));
    box.addEventListener("close", () => {
      this.writeNote();
      grid.view.focus({ preventScroll: true });
    });
  }

  buildSide() {
    const { grid } = this;
    const side = el("div", "fnb-box-side");
    const head = el("div", "fnb-box-head");
    this.place = el("span", "fnb-dim fnb-tabular", { role: "status" });
    this.level = el("span", "fnb-dim fnb-tabular fnb-box-level");
    const close = button("fnb-box-icon", "\u2715", "Close (Escape)");
    close.addEventListener("click", () => this.box.close());
    head.append(this.place, this.level, close);
    this.stars = new Stars((rating) => grid.rate(rating));
    this.note = el("textarea", "fnb-field fnb-rg-text", { rows: "2", placeholder: "Note (N)", maxlength: "2000", "aria-label": "Note" });
    this.note.addEventListener("change", () => this.writeNote());
    const hand = el("div", "fnb-box-tools");
    for (const { kind, label, title } of grid.source.handOn || []) {
      const one = button("", label, title);
      one.addEventListener("click", () => grid.handOn(kind, this.cell));
      hand.append(one);
    }
    if (grid.source.original) {
      const save = button("", "Download", "Download the original file (D)");
      save.addEventListener("click", () => this.download());
      hand.append(save);
    }
    this.cell = el("div", "fnb-rg-cell", { hidden: "" });
    this.message = el("div", "fnb-box-told fnb-dim", { role: "status" });
    this.prompt = el("div", "fnb-box-prompt");
    this.rows = el("div", "fnb-box-rows");
    side.append(head);
    if (grid.source.onRate) side.append(this.stars.root);
    if (grid.source.onNote) side.append(this.note);
    side.append(hand, this.cell, this.message, this.prompt, this.rows);
    return side;
  }

  show(key) {
    this.key = key;
    this.open();
    this.stage.focus({ preventScroll: true });
    this.draw();
  }

  step(key) {
    const { grid } = this;
    const spot = grid.spotOf.get(this.key);
    if (!spot) return;
    let index = neighbour(grid.spots, grid.sizes, spot.index, key, grid.view.clientHeight);
    // What was not made cannot be opened: the next one that can, in the same direction.
    while (grid.spots[index].cell.state !== "made") {
      const next = neighbour(grid.spots, grid.sizes, index, key, grid.view.clientHeight);
      if (next === index) return;
      index = next;
    }
    this.writeNote();
    this.key = grid.spots[index].cell.key;
    grid.goTo(this.key);
    this.draw();
  }

  arranged() {
    if (!this.box.open) return;
    if (!this.grid.byKey.has(this.key)) this.box.close();
    else this.drawPlace();
  }

  changed(key) {
    if (this.box.open && key === this.key) this.drawFacts();
  }

  say(text) {
    this.message.textContent = text;
  }

  drawPlace() {
    const { grid } = this;
    const spot = grid.spotOf.get(this.key);
    this.place.textContent = spot
      ? `${(spot.index + 1).toLocaleString()} of ${grid.spots.length.toLocaleString()}` : "";
    this.ends[0].disabled = !spot || spot.index === 0;
    this.ends[1].disabled = !spot || spot.index === grid.spots.length - 1;
  }

  drawFacts() {
    const { grid } = this;
    const cell = grid.byKey.get(this.key);
    this.stars.show(cell.rating, true);
    const known = knownRows(cell, grid.axes);
    const named = new Set(known.map(([name]) => name));
    const more = (this.details?.key === this.key ? this.details.rows : [])
      .filter(([name]) => !named.has(name) && !(name === "image_seed" && named.has("seed")));
    // What can be changed here has a place of its own.
    const { onRate, onNote } = grid.source;
    const placed = [onRate ? "rating" : "", onNote ? "note" : ""];
    this.rows.replaceChildren(table([...known.filter(([name]) => !placed.includes(name)), ...more]));
  }

  async draw() {
    const { grid, key } = this;
    const cell = grid.byKey.get(key);
    this.drawPlace();
    this.cell.hidden = true;
    this.say("");
    this.note.value = cell.note || "";
    this.prompt.textContent = "";
    this.drawFacts();
    this.drawDetails(key);
    this.zoom.reset();
    this.image.alt = valuesOf(cell, grid.axes).map(([name, value]) => `${name} ${value}`).join(", ");
    // With the final size, nothing jumps when the original replaces the thumbnail.
    this.image.width = cell.width || 512;
    this.image.height = cell.height || 512;
    const seen = grid.nodes.get(key)?.fnbImage.src;
    if (seen) this.image.src = seen;
    else this.image.removeAttribute("src");
    this.busy.textContent = "Loading the image";
    try {
      const { url } = await largest(grid, key);
      if (this.key !== key) return;
      this.image.src = url;
      this.busy.textContent = "";
    } catch (error) {
      if (this.key === key) this.busy.textContent = error?.message || "The image could not be loaded.";
    }
  }

  async drawDetails(key) {
    if (!this.grid.source.details) return;
    try {
      const details = await this.grid.source.details(key);
      if (this.key !== key) return;
      this.details = { key, rows: details.rows || [] };
      this.prompt.textContent = details.prompt || "";
      this.drawFacts();
    } catch {
      // The values on the axes are shown already.
    }
  }

  async download() {
    const cell = this.grid.byKey.get(this.key);
    try {
      const { blob } = await this.grid.source.original(cell.key);
      saveBlob(blob, cell.name || `${cell.key}.png`);
    } catch (error) {
      this.say(error?.message || "The image could not be loaded.");
    }
  }

  writeNote() {
    const cell = this.grid.byKey.get(this.key);
    if (!cell || !this.grid.source.onNote || this.note.value === (cell.note || "")) return;
    const text = this.note.value;
    this.grid.store(cell, { note: text }, () => this.grid.source.onNote(cell.key, text));
  }

  press(event) {
    const { grid } = this;
    if (event.target === this.note) {
      if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey)) {
        event.preventDefault();
        this.writeNote();
        this.stage.focus({ preventScroll: true });
      }
      return;
    }
    const action = gridAction(event);
    const onButton = event.target.closest("button");
    if (!action || action === "escape" || (onButton && ["open", "mark"].includes(action))) return;
    const acts = {
      move: () => this.step(event.key), enlarge: () => this.zoom.by(1.5), shrink: () => this.zoom.by(1 / 1.5),
      fit: () => this.zoom.reset(), unrate: () => grid.rate(null), mark: () => grid.mark(this.key),
      note: () => grid.source.onNote && this.note.focus(),
      settings: () => grid.handOn("settings", this.cell), vary: () => grid.handOn("vary", this.cell),
      upscale: () => grid.handOn("upscale", this.cell),
    };
    if (action.startsWith("rate")) {
      grid.rate(newRating(grid.active?.rating ?? null, Number(action.slice(4))));
    } else if (!acts[action]) {
      return;
    } else {
      acts[action]();
    }
    event.preventDefault();
  }

  close() {
    this.box.close();
  }
}

// The original, or the largest thumbnail where there is none.
async function largest(grid, key) {
  if (grid.source.original) return grid.source.original(key);
  return { url: await grid.source.thumbnail(key, THUMBNAIL_SIDES.at(-1), new AbortController().signal) };
}

// Two images in one frame, divided by a line that can be moved; zoom is the same in both.
class RunComparison {
  constructor(grid) {
    this.grid = grid;
    const { box, show } = dialog("fnb-box fnb-compare fnb-rg-compare", "Two images compared", grid.root);
    this.box = box;
    this.open = show;
    this.zoom = NO_ZOOM;
    this.stage = el("div", "fnb-box-stage fnb-compare-stage");
    this.pair = el("div", "fnb-rg-pair");
    this.clip = el("div", "fnb-rg-clip");
    this.images = [0, 1].map(() => el("img", "fnb-rg-half", { draggable: "false" }));
    this.clip.append(this.images[0]);
    this.pair.append(this.images[1], this.clip);
    this.handle = el("div", "fnb-compare-handle", { "aria-hidden": "true" });
    this.busy = el("div", "fnb-box-busy", { role: "status" });
    this.labels = [
      el("div", "fnb-compare-label fnb-compare-left"), el("div", "fnb-compare-label fnb-compare-right"),
    ];
    this.pair.append(this.handle);
    this.stage.append(this.pair, ...this.labels, this.busy);
    const side = el("div", "fnb-box-side");
    const head = el("div", "fnb-box-head");
    const close = button("fnb-box-icon", "\u2715", "Close (Escape)");
    this.level = el("span", "fnb-dim fnb-tabular fnb-box-level");
    head.append(el("span", "fnb-box-title", {}, "Compare"), this.level, close);
    this.slider = el("input", "fnb-compare-slider", {
      type: "range", min: "0", max: "100", step: "0.5", value: "50",
      "aria-label": "How much of the first image is shown",
    });
    this.differences = el("div", "fnb-box-rows");
    side.append(head, el("div", "fnb-dim", {}, "Move over the image, or use the slider. Zoom: wheel, + and -."),
      this.slider, this.differences);
    box.append(this.stage, side);
    close.addEventListener("click", () => box.close());
    this.slider.addEventListener("input", () => this.draw());
    this.stage.addEventListener("pointermove", (event) => this.follow(event));
    this.stage.addEventListener("pointerdown", (event) => this.follow(event, true));
    this.stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    box.addEventListener("keydown", (event) => this.press(event));
  }

  async show(left, right) {
    const { grid } = this;
    const cells = [left, right];
    this.zoom = NO_ZOOM;
    this.open();
    this.slider.value = "50";
    this.slider.focus({ preventScroll: true });
    const rows = cells.map((cell) => knownRows(cell, grid.axes).filter(([name]) => name !== "file"));
    const differences = differing(...rows);
    cells.forEach((cell, index) => {
      this.images[index].alt = "";
      this.images[index].src = grid.nodes.get(cell.key)?.fnbImage.src || "";
      const told = differences.filter(([name]) => !["rating", "note", "size"].includes(name))
        .slice(0, 3).map((row) => `${row[0]} ${row[index + 1]}`.trim());
      this.labels[index].textContent = told.join(", ") || cell.name || cell.key;
    });
    this.pair.style.aspectRatio = String((left.width || 1) / (left.height || 1));
    this.pair.style.setProperty("--fnb-ratio", this.pair.style.aspectRatio);
    this.differences.replaceChildren(
      differences.length ? table(differences) : el("p", "fnb-dim", {}, "All that is known of them is the same."),
    );
    this.draw();
    this.busy.textContent = "Loading the images";
    try {
      const originals = await Promise.all(cells.map((cell) => largest(grid, cell.key)));
      originals.forEach(({ url }, index) => {
        this.images[index].src = url;
      });
      this.busy.textContent = "";
    } catch (error) {
      this.busy.textContent = error?.message || "The images could not be loaded.";
    }
  }

  draw() {
    const share = Number(this.slider.value);
    this.clip.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
    this.handle.style.left = `${share}%`;
    const { scale, x, y } = this.zoom;
    for (const image of this.images) {
      image.style.transform = `translate(${x * 100}%, ${y * 100}%) scale(${scale})`;
    }
    this.level.textContent = `${Math.round(scale * 100)} %`;
    this.slider.setAttribute("aria-valuetext", `${Math.round(share)} %`);
  }

  // The line follows the pointer; with the button held, what is enlarged moves instead.
  follow(event, grabbed = false) {
    const box = this.pair.getBoundingClientRect();
    if (event.buttons === 1 && this.zoom.scale > 1.001 && !grabbed) {
      this.zoom = movedBy(this.zoom, event.movementX / box.width, event.movementY / box.height);
    } else if (event.buttons === 0 || this.zoom.scale <= 1.001) {
      const share = ((event.clientX - box.left) / Math.max(box.width, 1)) * 100;
      this.slider.value = String(Math.min(Math.max(share, 0), 100));
    }
    this.draw();
  }

  wheel(event) {
    event.preventDefault();
    const box = this.pair.getBoundingClientRect();
    const px = (event.clientX - box.left) / box.width - 0.5;
    const py = (event.clientY - box.top) / box.height - 0.5;
    this.zoom = zoomedBy(this.zoom, Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), px, py);
    this.draw();
  }

  press(event) {
    const action = gridAction(event);
    const acts = {
      enlarge: () => zoomedBy(this.zoom, 1.5), shrink: () => zoomedBy(this.zoom, 1 / 1.5), fit: () => NO_ZOOM,
    };
    if (!acts[action]) return;
    this.zoom = acts[action]();
    event.preventDefault();
    this.draw();
  }

  close() {
    this.box.close();
  }
}
