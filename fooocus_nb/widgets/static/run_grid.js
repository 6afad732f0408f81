// A run as a grid, drawn without any framework and without Jupyter: a widget and a page of its own
// both mount it. Only the images on the screen are in the page, whatever their number.
//
// mountRunGrid(host, source) draws into `host` and returns {update, patch, show, destroy}. `source`:
//   title, where           the heading, and a line that says where all images are
//   axes                   [{name, label, texts, shorts}]
//   cells                  [{key, number, at: [index on each axis], state, reason, seed, rating, note,
//                            width, height, name, measures}]; state is made, failed or missing
//   roles                  {x, y, z}: indexes of axes, -1 for none
//   thumbnail(key, side, signal)   a URL, or a promise of one; the signal says it is wanted no more
//   original(key)          a promise of {url, blob}; optional
//   details(key)           a promise of {rows: [[name, value]], prompt}; optional
//   onRate(key, rating)    stores a rating, null for none; may return a promise; optional
//   onNote(key, text)      the same for a note; optional
//   onHandOn(kind, key)    a promise of {text}: a cell; kinds are those of `handOn`; optional
//   handOn                 [{kind, label, title}]
//   insertCell(text, node) whether a cell was inserted below the one that has the node; optional
//   onRoles(roles)         is told of the roles that were chosen; optional

const GRID_GAP = 12; // around all
const OVERSCAN_PX = 240;
const GRID_HEIGHT = 620;
const LABEL_LINE = 16;
const RATINGS = [
  ["", "Any rating"], ["rating>=1", "1 star or more"], ["rating>=2", "2 stars or more"],
  ["rating>=3", "3 stars or more"], ["rating>=4", "4 stars or more"], ["rating=5", "5 stars"],
  ["rating=0", "Rejected (0)"], ["is:unrated", "Not rated"], ["is:noted", "With a note"],
];
const HELP = [
  ["Arrows, Home, End", "go to another image"], ["0 to 5", "rate; the same key again: no rating"],
  ["N", "write a note"], ["Enter", "open the image"], ["Space", "mark; C compares two"],
  ["+ and -", "zoom in all images"], ["F", "fit again"], ["X", "swap columns and rows"],
  ["/", "filter"],
];
const HAND_KEYS = { settings: "S", vary: "V", upscale: "U" };

// The keys of what can be done here.
function helpRows({ onRate, onNote, handOn }) {
  const off = [onRate ? "" : "0 to 5", onNote ? "" : "N"];
  const rows = HELP.filter(([key]) => !off.includes(key));
  return [...rows, ...(handOn || []).map(({ kind, label }) => [HAND_KEYS[kind] ?? "", label.toLowerCase()])];
}

function mountRunGrid(host, source) {
  const view = new RunGrid(host, source);
  return {
    update: (changes) => view.update(changes),
    patch: (key, changes) => view.patch(key, changes),
    show: (key) => view.goTo(key),
    destroy: () => view.destroy(),
  };
}

function labelled(text, control) {
  const node = el("label", "fnb-rg-labelled");
  control.setAttribute("aria-label", text);
  node.append(el("span", "fnb-dim", {}, text), control);
  return node;
}

function fillOptions(select, options, value) {
  const signature = JSON.stringify(options);
  if (select.fnbOptions !== signature) {
    select.fnbOptions = signature;
    select.replaceChildren(...options.map(([key, text]) => el("option", "", { value: key }, text)));
  }
  select.value = value;
}

class RunGrid {
  constructor(host, source) {
    this.source = source;
    this.uid = viewerId();
    this.cells = source.cells;
    this.axes = source.axes;
    this.byKey = new Map(this.cells.map((cell) => [cell.key, cell]));
    this.roles = { x: -1, y: -1, z: -1, ...source.roles };
    this.chosen = {};
    this.marked = [];
    this.zoom = NO_ZOOM;
    this.tile = 0; // 0: as large as fits
    this.activeKey = null;
    this.version = 0; // of everything but the scroll position: what has it already is not filled again
    this.nodes = new Map();
    this.blocks = new Map();
    this.loads = new Map();
    this.pen = document.createElement("canvas").getContext("2d");
    this.scrolled = framed(() => this.drawNow());
    this.draw = framed(() => this.redraw());
    this.arrange = framed(() => this.arrangeNow());
    this.requestSoon = debounced(() => this.requestNow(), 60);
    this.filterSoon = debounced(() => this.arrangeNow(true), 120);
    this.build(host);
    this.box = new RunBox(this);
    this.comparison = new RunComparison(this);
    this.resized = new ResizeObserver(() => this.arrange());
    this.resized.observe(this.view);
    this.arrangeNow();
  }

  // -- the page ----------------------------------------------------------------------------

  build(host) {
    const root = el("div", "fnb-widget fnb-rg", {
      "data-lm-suppress-shortcuts": "true", role: "group", "aria-label": this.source.title || "Run",
    });
    this.root = root;
    root.append(this.buildHead(), this.buildTools(), this.buildView(), this.buildAbout());
    this.foot = el("div", "fnb-rg-foot fnb-dim");
    this.message = el("span", "fnb-rg-message", { role: "status" });
    this.where = el("span", "fnb-rg-where", {}, this.source.where || "");
    this.foot.append(this.where, this.message);
    root.append(this.foot);
    root.addEventListener("keydown", (event) => this.key(event));
    host.append(root);
  }

  buildHead() {
    const head = el("div", "fnb-rg-bar");
    this.title = el("div", "fnb-rg-title", {}, this.source.title || "Run");
    this.count = el("span", "fnb-rg-count fnb-dim fnb-tabular", { role: "status" });
    this.filter = el("input", "fnb-field fnb-rg-filter", {
      type: "search", placeholder: "Filter: words, seed:7, rating>=3, is:failed", spellcheck: "false",
      "aria-label": "Filter: words, name:value, name>number, is:unrated",
    });
    this.rating = el("select", "fnb-field", { "aria-label": "Show images by their rating" });
    fillOptions(this.rating, RATINGS, "");
    this.filter.addEventListener("input", () => this.filterSoon());
    this.filter.addEventListener("keydown", (event) => {
      if (event.key === "Escape" || event.key === "Enter") {
        event.stopPropagation();
        this.view.focus({ preventScroll: true });
      }
    });
    this.rating.addEventListener("change", () => this.arrangeNow(true));
    const search = el("div", "fnb-rg-group fnb-rg-search");
    search.append(this.filter, this.rating);
    head.append(this.title, this.count, search);
    return head;
  }

  buildTools() {
    const bar = el("div", "fnb-rg-bar fnb-rg-tools");
    this.selects = {};
    const axes = el("div", "fnb-rg-group fnb-rg-axes");
    for (const [role, name] of [["x", "Columns"], ["y", "Rows"], ["z", "Blocks"]]) {
      const select = el("select", "fnb-field");
      select.addEventListener("change", () => this.setRole(role, Number(select.value)));
      this.selects[role] = select;
      axes.append(labelled(name, select));
      if (role === "x") {
        const swap = button("fnb-rg-icon", "\u21c4", "Swap columns and rows (X)");
        swap.addEventListener("click", () => this.swap());
        axes.append(swap);
      }
    }
    this.rest = el("div", "fnb-rg-group fnb-rg-rest");
    this.size = el("input", "fnb-rg-size", {
      type: "range", min: String(MIN_TILE), max: String(MAX_TILE), "aria-label": "Size of the images",
      title: "Size of the images; a double click fits them again",
    });
    this.size.addEventListener("input", () => this.setTile(Number(this.size.value)));
    this.size.addEventListener("dblclick", () => this.setTile(0));
    const zoom = el("div", "fnb-rg-joined");
    const out = button("fnb-rg-icon", "\u2212", "Zoom out in all images (-)");
    this.level = button("fnb-rg-level fnb-tabular", "100 %", "Fit again (F)");
    const into = button("fnb-rg-icon", "+", "Zoom in in all images (+), or Ctrl and the wheel");
    zoom.append(out, this.level, into);
    out.addEventListener("click", () => this.zoomTo(zoomedBy(this.zoom, 1 / 1.5)));
    into.addEventListener("click", () => this.zoomTo(zoomedBy(this.zoom, 1.5)));
    this.level.addEventListener("click", () => this.zoomTo(NO_ZOOM));
    this.compare = button("", "Compare", "Mark two images (Space, or Ctrl and click) to compare them (C)");
    this.compare.addEventListener("click", () => this.openComparison());
    const help = button("fnb-rg-icon", "?", "Keys");
    help.addEventListener("click", () => this.toggleHelp());
    this.helpButton = help;
    const right = el("div", "fnb-rg-group fnb-rg-right");
    right.append(this.size, zoom, this.compare, help);
    bar.append(axes, this.rest, right);
    return bar;
  }

  buildView() {
    this.view = el("div", "fnb-rg-view", {
      tabindex: "0", role: "listbox", "aria-multiselectable": "true", "aria-label": "Images",
    });
    this.sizer = el("div", "fnb-rg-sizer", { role: "presentation" });
    this.layer = el("div", "fnb-rg-layer", { role: "presentation" });
    this.sizer.append(this.layer);
    this.hint = el("div", "fnb-rg-hint fnb-dim");
    this.help = el("div", "fnb-rg-help", { hidden: "" });
    this.help.append(table(helpRows(this.source)));
    this.view.append(this.sizer, this.hint);
    this.view.addEventListener("scroll", this.scrolled, { passive: true });
    this.view.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.view.addEventListener("pointerdown", (event) => this.grab(event));
    this.view.addEventListener("click", (event) => this.press(event));
    this.view.addEventListener("dblclick", (event) => this.openAt(event));
    const frame = el("div", "fnb-rg-frame");
    frame.append(this.view, this.help);
    return frame;
  }

  buildAbout() {
    this.about = el("div", "fnb-rg-about");
    this.values = el("div", "fnb-rg-values");
    const tools = el("div", "fnb-rg-group");
    this.stars = new Stars((rating) => this.rate(rating));
    this.note = el("input", "fnb-field fnb-rg-note", {
      type: "text", placeholder: "Note (N)", maxlength: "2000", "aria-label": "Note",
    });
    this.note.addEventListener("change", () => this.writeNote(this.note.value));
    this.note.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      if (event.key === "Escape") this.note.value = this.active?.note || "";
      event.stopPropagation();
      this.view.focus({ preventScroll: true });
    });
    if (this.source.onRate) tools.append(this.stars.root);
    if (this.source.onNote) tools.append(this.note);
    const hand = el("div", "fnb-rg-group");
    const open = button("", "Open", "Open this image (Enter)");
    open.addEventListener("click", () => this.open());
    hand.append(open);
    this.handButtons = (this.source.handOn || []).map(({ kind, label, title }) => {
      const made = button("", label, title);
      made.addEventListener("click", () => this.handOn(kind));
      hand.append(made);
      return made;
    });
    this.openButton = open;
    this.cell = el("div", "fnb-rg-cell", { hidden: "" });
    this.about.append(this.values, tools, hand, this.cell);
    return this.about;
  }

  // -- what is shown -----------------------------------------------------------------------

  update({ cells, axes, roles, title, where }) {
    if (axes) this.axes = axes;
    if (roles) this.roles = { x: -1, y: -1, z: -1, ...roles };
    if (cells) {
      this.cells = cells;
      this.byKey = new Map(cells.map((cell) => [cell.key, cell]));
      this.marked = this.marked.filter((key) => this.byKey.has(key));
    }
    if (title !== undefined) this.title.textContent = title;
    if (where !== undefined) this.where.textContent = where;
    this.arrange();
  }

  patch(key, changes) {
    const cell = this.byKey.get(key);
    if (!cell) return;
    Object.assign(cell, changes);
    this.draw();
    this.drawAbout();
    this.box.changed(key);
  }

  arrangeNow(fromTop = false) {
    if (fromTop) this.view.scrollTop = 0;
    const text = `${this.filter.value} ${this.rating.value}`.trim();
    const passes = parseGridFilter(text, this.axes);
    this.layout = arranged(this.cells, this.axes, this.roles, this.chosen, text ? passes : undefined);
    this.spots = spotsOf(this.layout);
    this.spotOf = new Map(this.spots.map((spot) => [spot.cell.key, spot]));
    if (!this.spotOf.has(this.activeKey)) this.activeKey = this.spots[0]?.cell.key ?? null;
    this.ratio = ratioOf(this.cells);
    this.drawSelects();
    this.measureNow();
    this.redraw();
    this.drawAbout();
    this.box.arranged();
  }

  // Sizes follow the width of the view, which changes with the page.
  measureNow() {
    const width = Math.max(this.view.clientWidth - 2 * GRID_GAP, 60);
    const text = this.labelSizes(width, this.tile || 160);
    const tile = this.tile || fittingTile(this.layout, { width, ratio: this.ratio, text });
    const sizes = { width, tile, ratio: this.ratio, text: this.labelSizes(width, tile) };
    this.sizes = geometry(this.layout, sizes);
    this.size.value = String(tile);
    this.sizer.style.width = `${this.sizes.width + 2 * GRID_GAP}px`;
    this.sizer.style.height = `${this.sizes.height + 2 * GRID_GAP}px`;
    const wanted = this.spots.length ? Math.min(this.sizes.height + 2 * GRID_GAP + 2, GRID_HEIGHT) : 140;
    // Once it was dragged to another height, it keeps that.
    if (this.view.style.height === this.viewHeight || !this.viewHeight) {
      this.viewHeight = `${Math.ceil(wanted)}px`;
      this.view.style.height = this.viewHeight;
      this.viewHeight = this.view.style.height;
    }
  }

  labelSizes(width, tile) {
    const { roles, axes, layout } = this;
    this.pen.font = `12px ${getComputedStyle(this.root).fontFamily}`;
    const widest = (axis, used) => {
      if (axis < 0) return 0;
      return Math.max(0, ...used.slice(0, 400).map((index) => this.pen.measureText(axes[axis].shorts[index]).width));
    };
    const columns = widest(roles.x, layout.columns);
    const perRow = layout.perPlace <= 3 ? layout.perPlace : Math.ceil(Math.sqrt(layout.perPlace));
    const lines = Math.min(Math.ceil(columns / Math.max(tile * perRow * 0.85, 40)), 3);
    const rows = widest(roles.y, layout.rows);
    return {
      gutter: rows ? Math.ceil(Math.min(rows + 14, Math.max(width * 0.22, 70), 200)) : 0,
      columns: roles.x < 0 ? 0 : Math.max(lines, 1) * LABEL_LINE + 8,
      heading: roles.z < 0 ? 0 : 26,
      caption: tile < 64 ? 0 : 20,
    };
  }

  drawSelects() {
    const names = this.axes.map((axis, index) => [String(index), axis.label]);
    for (const role of ROLES) {
      fillOptions(this.selects[role], [["-1", "none"], ...names], String(this.roles[role]));
    }
    const rest = restAxes(this.axes, this.roles);
    const signature = JSON.stringify([rest, this.axes.map((axis) => [axis.name, axis.texts.length])]);
    if (this.rest.fnbSignature !== signature) {
      this.rest.fnbSignature = signature;
      this.rest.replaceChildren(...rest.map((axis) => this.restSelect(axis)));
    }
  }

  restSelect(axis) {
    const { label, shorts, texts } = this.axes[axis];
    const select = el("select", "fnb-field", { title: `One value of ${label}, or all side by side` });
    fillOptions(
      select, [["", "all"], ...shorts.slice(0, 500).map((text, index) => [String(index), text || texts[index]])],
      this.chosen[axis] === undefined ? "" : String(this.chosen[axis]),
    );
    select.addEventListener("change", () => {
      if (select.value === "") delete this.chosen[axis];
      else this.chosen[axis] = Number(select.value);
      this.arrangeNow(true);
    });
    return labelled(label, select);
  }

  redraw() {
    this.version += 1;
    this.drawCount();
    this.drawNow();
  }

  drawNow() {
    const { view, sizes } = this;
    if (!sizes || view.clientWidth === 0) return;
    const window = {
      left: view.scrollLeft - GRID_GAP - OVERSCAN_PX, top: view.scrollTop - GRID_GAP - OVERSCAN_PX,
      right: view.scrollLeft + view.clientWidth + OVERSCAN_PX,
      bottom: view.scrollTop + view.clientHeight + OVERSCAN_PX,
    };
    const shown = sizes.flow ? this.flowSpots(window) : this.gridSpots(window);
    this.placeTiles(shown);
    this.hint.hidden = this.spots.length > 0;
    this.hint.textContent = this.cells.length ? "No image matches the filter." : "There are no images yet.";
    this.requestSoon();
  }

  flowSpots({ top, bottom }) {
    arrangeNodes(this.sizer, this.blocks, []);
    this.sizer.append(this.layer);
    const pitch = this.sizes.high + this.sizes.caption + this.sizes.gap;
    const first = Math.max(Math.floor(top / pitch), 0) * this.sizes.across;
    return this.spots.slice(first, Math.ceil(bottom / pitch) * this.sizes.across);
  }

  gridSpots(window) {
    const { layout, sizes } = this;
    const shown = [];
    const found = visibleBlocks(layout, sizes, window);
    for (const block of found) this.drawBlock(block);
    arrangeNodes(this.sizer, this.blocks, found.map((block) => block.index));
    if (this.layer.nextSibling || !this.layer.parentNode) this.sizer.append(this.layer);
    for (const { index, rows, columns } of found) {
      for (let row = rows[0]; row < rows[1]; row += 1) {
        for (let column = columns[0]; column < columns[1]; column += 1) {
          const place = layout.places.get(`${index},${layout.rows[row]},${layout.columns[column]}`);
          for (const cell of place || []) shown.push(this.spotOf.get(cell.key));
        }
      }
    }
    return shown;
  }

  // The labels of a block: they stay in sight while the block does.
  drawBlock({ index, x, y, rows, columns }) {
    const { sizes, layout, axes, roles } = this;
    let node = this.blocks.get(index);
    const signature = [this.version, ...rows, ...columns].join();
    if (node?.fnbSignature === signature) return;
    if (!node) {
      node = el("div", "fnb-rg-block", { role: "presentation" });
      node.fnbHead = el("div", "fnb-rg-head");
      node.fnbHeading = el("div", "fnb-rg-heading");
      node.fnbCorner = el("div", "fnb-rg-corner");
      node.fnbColumns = el("div", "fnb-rg-columns");
      node.fnbRows = el("div", "fnb-rg-rows");
      node.fnbHead.append(node.fnbHeading, node.fnbColumns, node.fnbCorner);
      node.append(node.fnbHead, node.fnbRows);
      this.blocks.set(index, node);
    }
    node.fnbSignature = signature;
    const { head, block, place, gap } = sizes;
    // By left and top: what is sticky inside does not know of a transform.
    node.style.left = `${GRID_GAP + x}px`;
    node.style.top = `${GRID_GAP + y}px`;
    node.style.width = `${block.width}px`;
    node.style.height = `${block.height}px`;
    node.fnbHead.style.height = `${head.heading + head.columns}px`;
    node.fnbHeading.style.height = `${head.heading}px`;
    node.fnbHeading.hidden = !head.heading;
    node.fnbCorner.style.width = `${head.gutter}px`;
    node.fnbColumns.style.top = `${head.heading}px`;
    node.fnbColumns.style.height = `${head.columns}px`;
    node.fnbRows.style.width = `${head.gutter}px`;
    node.fnbRows.style.height = `${layout.rows.length * (place.height + gap)}px`;
    if (head.heading) {
      const axis = axes[roles.z];
      node.fnbHeading.replaceChildren(
        el("span", "fnb-dim", {}, `${axis.label} `), document.createTextNode(axis.shorts[index]),
      );
      node.fnbHeading.title = axis.texts[index];
      node.fnbHeading.style.maxWidth = `${Math.min(block.width, this.view.clientWidth - 2 * GRID_GAP)}px`;
    }
    this.drawLabels(node.fnbColumns, roles.x, layout.columns, columns, (number, label) => {
      label.style.left = `${head.gutter + number * (place.width + gap)}px`;
      label.style.width = `${place.width}px`;
    });
    this.drawLabels(node.fnbRows, roles.y, layout.rows, rows, (number, label) => {
      label.style.top = `${number * (place.height + gap)}px`;
      label.style.height = `${place.height}px`;
      const lines = Math.max(Math.floor(place.height / LABEL_LINE), 1);
      label.firstChild.style.webkitLineClamp = String(lines);
    });
  }

  drawLabels(parent, axis, used, [from, to], put) {
    if (axis < 0) {
      parent.replaceChildren();
      return;
    }
    parent.fnbNodes ??= new Map();
    const wanted = [];
    for (let number = from; number < to; number += 1) {
      const index = used[number];
      wanted.push(index);
      let label = parent.fnbNodes.get(index);
      if (!label) {
        label = el("div", "fnb-rg-label");
        label.append(el("span"));
        parent.fnbNodes.set(index, label);
      }
      const { shorts, texts } = this.axes[axis];
      label.firstChild.textContent = shorts[index];
      label.title = texts[index];
      put(number, label);
    }
    arrangeNodes(parent, parent.fnbNodes, wanted);
  }

  placeTiles(shown) {
    const { sizes } = this;
    const keys = [];
    for (const spot of shown) {
      const { key } = spot.cell;
      keys.push(key);
      let node = this.nodes.get(key);
      if (!node) {
        node = this.makeTile(key);
        this.nodes.set(key, node);
      }
      if (node.fnbVersion === this.version) continue;
      node.fnbVersion = this.version;
      const { x, y } = positionOf(spot, sizes);
      node.style.transform = `translate(${GRID_GAP + x}px, ${GRID_GAP + y}px)`;
      node.style.width = `${sizes.tile}px`;
      node.fnbFrame.style.height = `${sizes.high}px`;
      this.fillTile(node, spot);
    }
    const wanted = new Set(keys);
    for (const [key, load] of this.loads) {
      if (wanted.has(key)) continue;
      load.controller.abort();
      this.loads.delete(key);
    }
    arrangeNodes(this.layer, this.nodes, keys);
    if (this.activeKey && wanted.has(this.activeKey)) {
      this.view.setAttribute("aria-activedescendant", `${this.uid}-${this.activeKey}`);
    } else {
      this.view.removeAttribute("aria-activedescendant");
    }
  }

  makeTile(key) {
    const node = el("div", "fnb-rg-tile", { role: "option", id: `${this.uid}-${key}` });
    node.fnbKey = key;
    node.fnbFrame = el("div", "fnb-rg-frame-of-one");
    node.fnbImage = el("img", "", { alt: "", decoding: "async", draggable: "false" });
    node.fnbNote = el("div", "fnb-rg-state");
    node.fnbBadge = el("div", "fnb-rg-badge", { "aria-hidden": "true" });
    node.fnbMark = el("div", "fnb-rg-mark", { "aria-hidden": "true" });
    node.fnbFrame.append(node.fnbImage, node.fnbNote, node.fnbBadge, node.fnbMark);
    node.fnbCaption = el("div", "fnb-rg-caption");
    node.append(node.fnbFrame, node.fnbCaption);
    return node;
  }

  fillTile(node, spot) {
    const { cell } = spot;
    const marked = this.marked.indexOf(cell.key);
    node.setAttribute("aria-selected", String(marked >= 0));
    node.setAttribute("aria-posinset", String(spot.index + 1));
    node.setAttribute("aria-setsize", String(this.spots.length));
    node.classList.toggle("fnb-rg-active", cell.key === this.activeKey);
    node.classList.toggle("fnb-rg-rejected", cell.rating === 0);
    node.dataset.state = cell.state;
    node.fnbMark.textContent = marked >= 0 ? "AB"[marked] : "";
    const badge = [starsOf(cell.rating), cell.note ? "\u270e" : ""].filter(Boolean).join(" ");
    if (node.fnbBadge.textContent !== badge) node.fnbBadge.textContent = badge;
    node.fnbImage.hidden = cell.state !== "made" || !node.fnbImage.src;
    const words = { failed: "failed", missing: "not made yet" };
    node.fnbNote.textContent = cell.state === "made" ? node.fnbError || "" : words[cell.state] ?? cell.state;
    const caption = this.sizes.caption ? captionOf(cell, this.axes, this.roles, this.layout, this.sizes.tile) : "";
    if (node.fnbCaption.textContent !== caption) node.fnbCaption.textContent = caption;
    node.fnbCaption.hidden = !this.sizes.caption;
    const values = valuesOf(cell, this.axes).map(([name, value]) => `${name}: ${value}`);
    const rating = cell.rating === null || cell.rating === undefined ? "" : `rated ${cell.rating}`;
    node.setAttribute("aria-label", [...values, rating, cell.reason].filter(Boolean).join(", ").slice(0, 400));
    const about = [...values, cell.note && `note: ${cell.note}`, cell.reason].filter(Boolean).join("\n");
    if (node.title !== about) node.title = about.slice(0, 800);
  }

  // -- images, for what is on the screen ----------------------------------------------------

  requestNow() {
    const side = thumbnailSide(this.sizes.tile, this.zoom.scale, Math.min(globalThis.devicePixelRatio || 1, 2));
    const { left, right, top, bottom } = this.view.getBoundingClientRect();
    const inSight = (node) => {
      const box = node.getBoundingClientRect();
      return box.bottom > top && box.top < bottom && box.right > left && box.left < right;
    };
    // Zoomed in, only what is seen is asked for: those are large.
    const nodes = [...this.nodes.values()].filter((node) => this.zoom.scale === 1 || inSight(node));
    nodes.sort((a, b) => Number(inSight(b)) - Number(inSight(a)));
    for (const node of nodes) this.request(node, side);
  }

  request(node, side) {
    const key = node.fnbKey;
    const cell = this.byKey.get(key);
    if (!cell || cell.state !== "made" || (node.fnbSide ?? 0) >= side || node.fnbError) return;
    const load = this.loads.get(key);
    if (load && load.side >= side) return;
    load?.controller.abort();
    const controller = new AbortController();
    const mine = { side, controller };
    this.loads.set(key, mine);
    const given = this.source.thumbnail(key, side, controller.signal);
    if (typeof given === "string") {
      this.loads.delete(key);
      this.showThumbnail(node, given, side);
      return;
    }
    given.then(
      (url) => this.showThumbnail(node, url, side),
      (error) => {
        if (controller.signal.aborted || !error?.message) return;
        node.fnbError = error.message;
        this.draw();
      },
    ).finally(() => {
      if (this.loads.get(key) === mine) this.loads.delete(key);
    });
  }

  showThumbnail(node, url, side) {
    if (!node.isConnected || (node.fnbSide ?? 0) > side) return;
    node.fnbSide = side;
    node.fnbImage.src = url;
    node.fnbImage.hidden = false;
  }

  // -- zoom and size ------------------------------------------------------------------------

  zoomTo(zoom) {
    this.zoom = zoom;
    this.layer.classList.toggle("fnb-rg-zoomed", zoom.scale > 1.001);
    this.layer.style.setProperty("--fnb-zoom", String(zoom.scale));
    this.layer.style.setProperty("--fnb-x", `${zoom.x * 100}%`);
    this.layer.style.setProperty("--fnb-y", `${zoom.y * 100}%`);
    this.level.textContent = `${Math.round(zoom.scale * 100)} %`;
    this.requestSoon();
  }

  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return; // it scrolls
    event.preventDefault();
    const tile = event.target.closest(".fnb-rg-tile");
    const box = tile?.fnbFrame.getBoundingClientRect();
    const [px, py] = box
      ? [(event.clientX - box.left) / box.width - 0.5, (event.clientY - box.top) / box.height - 0.5] : [0, 0];
    this.zoomTo(zoomedBy(this.zoom, Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.004)), px, py));
  }

  grab(event) {
    const tile = event.target.closest(".fnb-rg-tile");
    if (event.button !== 0 || !tile || this.zoom.scale <= 1.001) return;
    const { width, height } = tile.fnbFrame.getBoundingClientRect();
    let [x, y] = [event.clientX, event.clientY];
    let far = 0;
    const move = (moved) => {
      far += Math.abs(moved.clientX - x) + Math.abs(moved.clientY - y);
      if (far > 4) this.dragged = true;
      this.zoomTo(movedBy(this.zoom, (moved.clientX - x) / width, (moved.clientY - y) / height));
      [x, y] = [moved.clientX, moved.clientY];
    };
    const drop = () => {
      this.view.removeEventListener("pointermove", move);
      this.view.removeEventListener("pointerup", drop);
      this.view.removeEventListener("pointercancel", drop);
    };
    this.dragged = false;
    this.view.addEventListener("pointermove", move);
    this.view.addEventListener("pointerup", drop);
    this.view.addEventListener("pointercancel", drop);
  }

  setTile(tile) {
    this.tile = tile;
    this.measureNow();
    this.redraw();
  }

  setRole(role, axis) {
    this.setRoles(withRole(this.roles, role, axis));
  }

  swap() {
    this.setRoles({ ...this.roles, x: this.roles.y, y: this.roles.x });
  }

  setRoles(roles) {
    this.roles = roles;
    for (const role of ROLES) delete this.chosen[roles[role]];
    this.source.onRoles?.(roles);
    this.arrangeNow(true);
    this.reveal();
  }

  // -- one image ----------------------------------------------------------------------------

  get active() {
    return this.activeKey === null ? undefined : this.byKey.get(this.activeKey);
  }

  goTo(key) {
    if (!this.spotOf.has(key)) return;
    this.activeKey = key;
    this.cell.hidden = true;
    this.reveal();
    this.redraw();
    this.drawAbout();
  }

  reveal() {
    const spot = this.spotOf.get(this.activeKey);
    if (!spot) return;
    const { x, y } = positionOf(spot, this.sizes);
    const { view, sizes } = this;
    const head = sizes.flow ? { top: 0, left: 0 }
      : { top: sizes.head.heading + sizes.head.columns, left: sizes.head.gutter };
    const top = y + GRID_GAP - head.top - 4;
    const bottom = y + GRID_GAP + sizes.high + sizes.caption + 4;
    if (top < view.scrollTop) view.scrollTop = top;
    else if (bottom > view.scrollTop + view.clientHeight) view.scrollTop = bottom - view.clientHeight;
    const left = x + GRID_GAP - head.left - 4;
    const right = x + GRID_GAP + sizes.tile + 4;
    if (left < view.scrollLeft) view.scrollLeft = left;
    else if (right > view.scrollLeft + view.clientWidth) view.scrollLeft = right - view.clientWidth;
  }

  drawAbout() {
    const cell = this.active;
    this.about.hidden = !cell;
    if (!cell) return;
    const parts = valuesOf(cell, this.axes).map(([name, value]) => this.chip(name, value));
    if (!this.axes.some((axis) => axis.name === "image_seed") && cell.seed) parts.push(this.chip("seed", cell.seed));
    for (const [name, value] of Object.entries(cell.measures || {})) {
      if (value !== null) parts.push(this.chip(name, numberText(value)));
    }
    if (cell.rating !== null && cell.rating !== undefined && !this.source.onRate) {
      parts.push(this.chip("rating", starsOf(cell.rating)));
    }
    if (cell.note && !this.source.onNote) parts.push(this.chip("note", cell.note));
    if (cell.reason) parts.push(el("span", "fnb-rg-reason", {}, cell.reason));
    this.values.replaceChildren(...parts);
    const made = cell.state === "made";
    this.stars.show(cell.rating, made);
    this.note.disabled = !made;
    if (document.activeElement !== this.note || this.note.fnbKey !== cell.key) this.note.value = cell.note || "";
    this.note.fnbKey = cell.key;
    for (const one of [this.openButton, ...this.handButtons]) one.disabled = !made;
  }

  chip(name, value) {
    const node = el("span", "fnb-rg-chip", { title: String(value).slice(0, 2000) });
    node.append(el("span", "fnb-dim", {}, `${name} `), document.createTextNode(String(value).slice(0, 200)));
    return node;
  }

  drawCount() {
    const { layout, cells } = this;
    const made = cells.filter((cell) => cell.state === "made").length;
    const all = `${made.toLocaleString()} ${made === 1 ? "image" : "images"}`;
    const parts = [layout.shown === cells.length ? all : `${layout.shown.toLocaleString()} of ${cells.length.toLocaleString()} shown`];
    for (const [state, word] of [["failed", "failed"], ["missing", "not made yet"]]) {
      const count = cells.filter((cell) => cell.state === state).length;
      if (count) parts.push(`${count.toLocaleString()} ${word}`);
    }
    const rated = cells.filter(STATES.rated).length;
    if (rated) parts.push(`${rated.toLocaleString()} rated`);
    const text = parts.join(" \u00b7 ");
    if (this.count.textContent !== text) this.count.textContent = text;
    this.compare.hidden = !this.marked.length;
    this.compare.disabled = this.marked.length !== 2;
    this.compare.textContent = this.marked.length === 1 ? "Compare (1 of 2)" : "Compare";
  }

  say(text) {
    this.message.textContent = text;
    this.box.say(text);
  }

  async rate(rating) {
    const cell = this.active;
    if (!cell || cell.state !== "made" || !this.source.onRate) return;
    await this.store(cell, { rating }, () => this.source.onRate(cell.key, rating));
  }

  async writeNote(text) {
    const cell = this.byKey.get(this.note.fnbKey) ?? this.active;
    if (!cell || cell.state !== "made" || !this.source.onNote || text === (cell.note || "")) return;
    await this.store(cell, { note: text }, () => this.source.onNote(cell.key, text));
  }

  // What was entered shows at once, and is taken back when it could not be stored.
  async store(cell, changes, send) {
    const before = Object.fromEntries(Object.keys(changes).map((name) => [name, cell[name]]));
    this.patch(cell.key, changes);
    try {
      await send();
      this.say("");
    } catch (error) {
      this.patch(cell.key, before);
      this.say(error?.message || "It could not be stored.");
    }
  }

  mark(key) {
    this.marked = this.marked.includes(key)
      ? this.marked.filter((other) => other !== key) : [...this.marked.slice(-1), key];
    this.draw();
  }

  open() {
    if (this.active?.state === "made") this.box.show(this.activeKey);
  }

  openComparison() {
    const [left, right] = this.marked.map((key) => this.byKey.get(key));
    if (left && right) this.comparison.show(left, right);
    else this.say("Mark two images to compare them: Space, or Ctrl and click.");
  }

  async handOn(kind, host = this.cell) {
    const cell = this.active;
    const known = (this.source.handOn || []).some((one) => one.kind === kind);
    if (!cell || cell.state !== "made" || !this.source.onHandOn || !known) return;
    try {
      const { text } = await this.source.onHandOn(kind, cell.key);
      const inserted = this.source.insertCell?.(text, this.root);
      const copied = !inserted && (await copyText(text, host.closest("dialog") || this.root));
      showCell(host, text, inserted ? "inserted" : copied ? "copied" : "");
    } catch (error) {
      this.say(error?.message || "There is no such cell.");
    }
  }

  // -- pointer and keys ---------------------------------------------------------------------

  press(event) {
    const tile = event.target.closest(".fnb-rg-tile");
    const dragged = this.dragged;
    this.dragged = false;
    if (!tile || dragged) return;
    this.view.focus({ preventScroll: true });
    if (event.ctrlKey || event.metaKey || event.shiftKey) this.mark(tile.fnbKey);
    this.goTo(tile.fnbKey);
  }

  openAt(event) {
    const tile = event.target.closest(".fnb-rg-tile");
    if (!tile) return;
    this.goTo(tile.fnbKey);
    this.open();
  }

  toggleHelp() {
    this.help.hidden = !this.help.hidden;
    this.helpButton.setAttribute("aria-pressed", String(!this.help.hidden));
  }

  key(event) {
    if (event.target.closest("input:not([type=range]), textarea, select, dialog")) return;
    const action = gridAction(event);
    const onButton = event.target.closest("button");
    if (!action || (onButton && ["open", "mark"].includes(action))) return;
    if (event.target.type === "range" && action === "move") return;
    const moves = action === "move" && this.spots.length;
    if (moves) {
      const index = this.spotOf.get(this.activeKey).index;
      this.goTo(this.spots[neighbour(this.spots, this.sizes, index, event.key, this.view.clientHeight)].cell.key);
    } else if (action.startsWith("rate")) {
      this.rate(newRating(this.active?.rating ?? null, Number(action.slice(4))));
    } else {
      const acts = {
        open: () => this.open(), mark: () => this.activeKey !== null && this.mark(this.activeKey),
        compare: () => this.openComparison(), unrate: () => this.rate(null),
        note: () => this.source.onNote && this.note.focus({ preventScroll: true }),
        enlarge: () => this.zoomTo(zoomedBy(this.zoom, 1.5)), shrink: () => this.zoomTo(zoomedBy(this.zoom, 1 / 1.5)),
        fit: () => this.zoomTo(NO_ZOOM), filter: () => this.filter.focus({ preventScroll: true }),
        swap: () => this.swap(), help: () => this.toggleHelp(),
        escape: () => this.escape(),
        vary: () => this.handOn("vary"), upscale: () => this.handOn("upscale"), settings: () => this.handOn("settings"),
      };
      acts[action]?.();
    }
    event.preventDefault();
    event.stopPropagation();
  }

  escape() {
    if (!this.help.hidden) this.toggleHelp();
    else if (!this.cell.hidden) this.cell.hidden = true;
    else if (this.marked.length) {
      this.marked = [];
      this.draw();
    }
  }

  destroy() {
    for (const pending of [this.draw, this.scrolled, this.arrange, this.requestSoon, this.filterSoon]) pending.cancel();
    for (const { controller } of this.loads.values()) controller.abort();
    this.resized.disconnect();
    this.box.close();
    this.comparison.close();
    this.root.remove();
  }
}

// The most common shape of the images: width by height.
function ratioOf(cells) {
  const counts = new Map();
  for (const { width, height } of cells) {
    if (!width || !height) continue;
    const shape = `${width}/${height}`;
    counts.set(shape, (counts.get(shape) || 0) + 1);
  }
  const [shape] = [...counts].sort((a, b) => b[1] - a[1])[0] || ["1/1"];
  const [width, height] = shape.split("/").map(Number);
  return Math.min(Math.max(width / height, 1 / 3), 3);
}

function numberText(value) {
  return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(5))) : String(value);
}
