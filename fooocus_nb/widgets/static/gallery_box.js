// The open image with its parameters, and the comparison of two images.

function cardRows(card, rows) {
  const file = card.bytes ? `${(card.bytes / 1e6).toFixed(card.bytes < 1e6 ? 2 : 1)} MB` : "";
  return [
    ["seed", card.seed], ...rows.filter(([name]) => name !== "image_seed"),
    ["size", sizeText(card)], ["file", [card.name, file].filter(Boolean).join(", ")],
    ["date", dateText(card)],
  ].filter(([, value]) => value);
}

class LightBox {
  constructor(given) {
    const { root, model, cache, viewer, cards, isSelected, onSelect, onMove, onClose } = given;
    Object.assign(this, { root, model, cache, viewer, cards });
    Object.assign(this, { isSelected, onSelect, onMove, onClose });
    this.details = new Map();
    this.index = -1;
    this.card = undefined;
    this.build();
  }

  build() {
    const { box, show } = dialog("fnb-box", "Image", this.root);
    this.box = box;
    this.open = show;
    this.stage = el("div", "fnb-box-stage", {
      tabindex: "0", role: "group",
      "aria-label": "Image. Left and right: the next one. Plus, minus and zero: zoom. Escape: back.",
    });
    this.image = el("img", "fnb-box-image", { draggable: "false", decoding: "async" });
    this.broken = el("div", "fnb-box-broken");
    this.busy = el("div", "fnb-box-busy", { role: "status" });
    const back = button("fnb-box-turn fnb-box-back", "\u2039", "Previous image");
    const forth = button("fnb-box-turn fnb-box-forth", "\u203a", "Next image");
    this.stage.append(this.image, this.broken, this.busy, back, forth);
    this.turns = [back, forth];
    const side = el("div", "fnb-box-side");
    const head = el("div", "fnb-box-head");
    this.place = el("span", "fnb-dim fnb-tabular", { role: "status" });
    this.level = el("span", "fnb-dim fnb-tabular fnb-box-level");
    const out = button("fnb-box-icon", "\u2212", "Smaller (-)");
    const into = button("fnb-box-icon", "+", "Larger (+)");
    const close = button("fnb-box-icon", "\u2715", "Close (Escape)");
    head.append(this.place, out, this.level, into, close);
    const tools = el("div", "fnb-box-tools");
    this.copy = button("", "Copy as cell", "Copy the cell that generates this image again");
    this.save = button("", "Download", "Download the original file");
    this.pick = button("", "Select", "Select this image (Space)");
    tools.append(this.copy, this.save, this.pick);
    this.message = el("div", "fnb-box-told fnb-dim", { role: "status" });
    this.prompt = el("div", "fnb-box-prompt");
    this.rows = el("div", "fnb-box-rows");
    side.append(head, tools, this.message, this.prompt, this.rows);
    box.append(this.stage, side);
    this.zoom = new Zoom(this.stage, this.image, () => {
      this.level.textContent = this.zoom?.label ?? "";
    });
    back.addEventListener("click", () => this.step(-1));
    forth.addEventListener("click", () => this.step(1));
    out.addEventListener("click", () => this.zoom.by(1 / 1.5));
    into.addEventListener("click", () => this.zoom.by(1.5));
    close.addEventListener("click", () => box.close());
    this.copy.addEventListener("click", () => this.copyCell());
    this.save.addEventListener("click", () => this.download(this.card));
    this.pick.addEventListener("click", () => this.toggle());
    box.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("close", () => this.onClose());
  }

  show(index) {
    this.moveTo(index);
    this.open();
    this.stage.focus({ preventScroll: true });
    this.draw();
  }

  step(by) {
    const next = this.index + by;
    if (next < 0 || next >= this.cards().length) return;
    this.moveTo(next);
    this.draw();
  }

  // The grid moves along at once: a key may come between the end of the box and its event.
  moveTo(index) {
    this.turnTo(index);
    this.onMove(index);
  }

  turnTo(index) {
    this.index = index;
    this.card = this.cards()[index];
  }

  // The grid was arranged anew: the open image stays, with its new index.
  arranged() {
    if (!this.box.open || !this.card) return;
    const index = this.cards().findIndex((card) => card.id === this.card.id);
    if (index >= 0) this.turnTo(index);
    this.drawPlace();
  }

  isOpen(id) {
    return this.card?.id === id;
  }

  toggle() {
    this.onSelect(this.card.id);
    this.drawPick();
  }

  drawPick() {
    const chosen = this.isSelected(this.card.id);
    this.pick.textContent = chosen ? "Selected" : "Select";
    this.pick.setAttribute("aria-pressed", String(chosen));
  }

  draw() {
    const { card } = this;
    if (!card) return;
    this.drawPlace();
    this.message.textContent = "";
    this.prompt.textContent = card.prompt || "";
    this.drawPick();
    this.drawRows(card, card.rows || []);
    this.copy.disabled = true;
    this.save.disabled = Boolean(card.error);
    this.broken.textContent = card.error || "";
    this.image.hidden = Boolean(card.error);
    this.image.alt = card.prompt || card.name;
    this.zoom.reset();
    this.ask(card);
    if (!card.error) this.drawImage(card);
    else this.busy.textContent = "";
  }

  drawPlace() {
    const count = this.cards().length;
    const text = `${(this.index + 1).toLocaleString()} of ${count.toLocaleString()}`;
    if (this.place.textContent !== text) this.place.textContent = text;
    this.turns[0].disabled = this.index === 0;
    this.turns[1].disabled = this.index >= count - 1;
  }

  async drawImage(card) {
    const thumb = this.cache.thumb(card.id);
    // With the final size, nothing jumps when the original replaces the thumbnail.
    this.image.width = card.width || 512;
    this.image.height = card.height || 512;
    if (thumb) this.image.src = thumb;
    else this.image.removeAttribute("src");
    this.busy.textContent = this.cache.originals.has(card.id) ? "" : "Loading the original";
    try {
      const original = await this.cache.original(card.id);
      if (!this.isOpen(card.id)) return;
      this.image.src = original.url;
      this.busy.textContent = "";
    } catch (error) {
      if (this.isOpen(card.id)) this.busy.textContent = error.message;
      return;
    }
    const next = this.cards()[this.index + 1];
    if (next && !next.error) this.cache.original(next.id).catch(() => {});
  }

  // An original that had taken so long that its place says so.
  takeLate(id) {
    if (this.box.open && this.isOpen(id) && this.busy.textContent) this.drawImage(this.card);
  }

  drawRows(card, rows) {
    this.rows.replaceChildren(table(cardRows(card, rows)));
  }

  ask(card) {
    const known = this.details.get(card.id);
    if (known) this.take(known);
    else this.model.send({ kind: "details", id: card.id, viewer: this.viewer });
  }

  take(details) {
    this.details.delete(details.id);
    this.details.set(details.id, details);
    if (this.details.size > 50) this.details.delete(this.details.keys().next().value);
    const { card } = this;
    if (!this.isOpen(details.id)) return;
    const prompt = details.rows.find(([name]) => name === "prompt");
    if (prompt) [, this.prompt.textContent] = prompt;
    this.drawRows(card, details.rows.filter(([name]) => name !== "prompt"));
    this.copy.disabled = !details.cell;
    this.copy.title = details.cell
      ? "Copy the cell that generates this image again (C)"
      : "The file has no parameters";
  }

  async copyCell() {
    const details = this.details.get(this.card.id);
    if (!details?.cell) return;
    const done = await copyText(details.cell, this.box);
    this.message.textContent = done ? "Copied: paste it into a new cell." : "The browser does not allow copying.";
  }

  async download(card) {
    if (!card || card.error) return;
    try {
      const original = await this.cache.original(card.id);
      saveBlob(original.blob, card.name);
    } catch (error) {
      this.message.textContent = error.message;
    }
  }

  key(event) {
    const action = boxAction(event, Boolean(event.target.closest("button")));
    if (!action) return;
    event.preventDefault();
    const acts = {
      previous: () => this.step(-1), next: () => this.step(1),
      first: () => this.step(-this.index), last: () => this.step(this.cards().length - 1 - this.index),
      enlarge: () => this.zoom.by(1.5), shrink: () => this.zoom.by(1 / 1.5),
      fit: () => this.zoom.reset(), actual: () => this.zoom.by(1 / this.zoom.fit / this.zoom.scale),
      copy: () => this.copyCell(), download: () => this.download(this.card),
      select: () => this.toggle(),
    };
    acts[action]();
  }
}

class CompareBox {
  constructor({ root, cache }) {
    this.cache = cache;
    const { box, show } = dialog("fnb-box fnb-compare", "Two images compared", root);
    this.box = box;
    this.open = show;
    this.stage = el("div", "fnb-box-stage fnb-compare-stage");
    this.images = [el("img", "fnb-compare-image", { draggable: "false" }),
      el("img", "fnb-compare-image", { draggable: "false" })];
    this.handle = el("div", "fnb-compare-handle", { "aria-hidden": "true" });
    this.busy = el("div", "fnb-box-busy", { role: "status" });
    this.labels = [el("div", "fnb-compare-label fnb-compare-left"), el("div", "fnb-compare-label fnb-compare-right")];
    this.stage.append(...this.images, this.handle, ...this.labels, this.busy);
    const side = el("div", "fnb-box-side");
    const head = el("div", "fnb-box-head");
    const close = button("fnb-box-icon", "\u2715", "Close (Escape)");
    head.append(el("span", "fnb-box-title", {}, "Compare"), close);
    this.slider = el("input", "fnb-compare-slider", {
      type: "range", min: "0", max: "100", step: "0.5", value: "50",
      "aria-label": "How much of the first image is shown",
    });
    this.differences = el("div", "fnb-box-rows");
    side.append(head, el("div", "fnb-dim", {}, "Drag over the image, or use the slider."),
      this.slider, this.differences);
    box.append(this.stage, side);
    close.addEventListener("click", () => box.close());
    this.slider.addEventListener("input", () => this.draw());
    this.stage.addEventListener("pointerdown", (event) => this.drag(event));
    this.images[0].addEventListener("load", () => this.draw());
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.stage);
  }

  async show(left, right) {
    this.open();
    this.slider.value = "50";
    this.slider.focus({ preventScroll: true });
    const cards = [left, right];
    cards.forEach((card, index) => {
      this.images[index].alt = card.prompt || card.name;
      this.images[index].src = this.cache.thumb(card.id) || "";
      this.labels[index].textContent = card.seed ? `seed ${card.seed}` : card.name;
    });
    this.drawDifferences(left, right);
    this.draw();
    this.busy.textContent = "Loading the originals";
    try {
      const originals = await Promise.all(cards.map((card) => this.cache.original(card.id)));
      originals.forEach((original, index) => {
        this.images[index].src = original.url;
      });
      this.busy.textContent = "";
    } catch (error) {
      this.busy.textContent = error.message;
    }
  }

  drawDifferences(left, right) {
    const rows = (card) => new Map([["prompt", card.prompt || ""], ...cardRows(card, card.rows || [])]);
    const [one, other] = [rows(left), rows(right)];
    const names = [...new Set([...one.keys(), ...other.keys()])];
    const differing = names.filter((name) => one.get(name) !== other.get(name));
    this.differences.replaceChildren(
      differing.length
        ? table(differing.map((name) => [name, one.get(name) || "", other.get(name) || ""]))
        : el("p", "fnb-dim", {}, "All that is known of them is the same."),
    );
  }

  draw() {
    const share = Number(this.slider.value) / 100;
    const stage = this.stage.getBoundingClientRect();
    const image = this.images[0].getBoundingClientRect();
    const x = image.left - stage.left + image.width * share;
    this.images[0].style.clipPath = `inset(0 ${(1 - share) * 100}% 0 0)`;
    this.handle.style.left = `${x}px`;
    this.slider.setAttribute("aria-valuetext", `${Math.round(share * 100)} %`);
  }

  drag(event) {
    const move = (moved) => {
      const image = this.images[0].getBoundingClientRect();
      const share = (moved.clientX - image.left) / Math.max(image.width, 1);
      this.slider.value = String(Math.min(Math.max(share, 0), 1) * 100);
      this.draw();
    };
    move(event);
    followPointer(this.stage, event, move);
  }

  destroy() {
    this.resized.disconnect();
    this.box.close();
  }
}
