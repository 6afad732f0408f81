// The gallery's grid: only the cards on the screen are in the page, whatever their number.

const TILE = 172; // the least width of a card
const GAP = 10;
const CAPTION = 22;
const OVERSCAN = 2; // rows above and below
const MAX_HEIGHT = 560;
const stores = new Map();

function plural(count, one, many) {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}

// The state of a model's images on a page; all its views share it.
class GalleryStore {
  constructor(model) {
    this.model = model;
    this.viewer = viewerId();
    this.cards = new Map();
    this.total = 0;
    this.selected = [];
    this.listeners = new Set();
    this.cache = new ImageCache(model, this.viewer, (id) => this.cards.get(id)?.grant);
  }

  takeCards({ total, cards }) {
    this.total = Math.max(this.total, total);
    for (const card of cards) this.cards.set(card.id, card);
    this.tell("cards");
  }

  take(message, buffers) {
    switch (message.kind) {
      case "cards":
        this.takeCards(message);
        break;
      case "thumbs":
        this.cache.takeThumbs(message.ids, buffers);
        this.tell("thumbs");
        break;
      case "original":
        if (message.viewer !== this.viewer) break;
        if (this.cache.takeOriginal(message, buffers)) this.tell("late", message);
        break;
      case "details":
        if (message.viewer === this.viewer) this.tell("details", message);
        break;
      case "selection":
        if (message.from !== this.viewer) {
          this.selected = message.ids;
          this.tell("selection");
        }
        break;
    }
  }

  select(ids) {
    this.selected = ids;
    this.model.send({ kind: "select", ids, viewer: this.viewer });
    this.tell("selection");
  }

  tell(what, message) {
    for (const listener of this.listeners) listener(what, message);
  }
}

function initialize({ model }) {
  const store = new GalleryStore(model);
  stores.set(model.get("uid"), store);
  const begin = () => {
    const first = model.get("first");
    if (first && first.cards) store.takeCards(first);
  };
  const onMessage = (message, buffers) => store.take(message, buffers);
  begin();
  model.on("change:first", begin);
  model.on("msg:custom", onMessage);
  model.send({ kind: "open", viewer: store.viewer });
  return () => {
    stores.delete(model.get("uid"));
    store.cache.clear();
    model.off("change:first", begin);
    model.off("msg:custom", onMessage);
  };
}

function gridBar(model) {
  const bar = el("div", "fnb-grid-bar", { role: "toolbar", "aria-label": "Gallery" });
  const title = el("span", "fnb-grid-title", {}, model.get("title"));
  title.title = model.get("title");
  const filter = el("input", "fnb-field fnb-grid-filter", {
    type: "search", placeholder: "Filter: words, seed:7, style:anime", spellcheck: "false",
    "aria-label": "Filter the images",
  });
  filter.title = 'Words, all of which must be there. In one parameter: seed:7, model:xl, sampler="euler", guidance_scale>4';
  const sort = el("select", "fnb-field fnb-grid-sort", { "aria-label": "Sort by" });
  const turn = button("fnb-grid-icon", "\u2191", "Ascending");
  const all = button("", "Select all", "Select all images that are shown (Ctrl+A)");
  const compare = button("", "Compare", "Compare the two selected images");
  const sorting = el("span", "fnb-grid-group");
  sorting.append(sort, turn);
  const choosing = el("span", "fnb-grid-group");
  choosing.append(all, compare);
  bar.append(title, filter, sorting, choosing);
  return { bar, filter, sort, turn, all, compare };
}

function render({ model, el: host }) {
  const store = stores.get(model.get("uid"));
  const { cache } = store;
  const root = el("section", "fnb-widget fnb-grid", {
    "aria-label": model.get("title"), "data-lm-suppress-shortcuts": "true",
  });
  const tools = gridBar(model);
  const view = el("div", "fnb-grid-view", {
    tabindex: "0", role: "listbox", "aria-multiselectable": "true",
    "aria-label": `${model.get("title")}: arrows move, Enter opens, Space selects`,
  });
  const sizer = el("div", "fnb-grid-sizer", { role: "presentation" });
  const hint = el("div", "fnb-grid-hint fnb-dim");
  view.append(sizer, hint);
  const foot = el("div", "fnb-grid-foot fnb-dim fnb-tabular", { role: "status" });
  root.append(tools.bar, view, foot);
  host.append(root);

  const nodes = new Map();
  const uid = store.viewer;
  let shown = [];
  let sortKey = "order";
  let descending = model.get("newest_first");
  let active = 0; // the card that keys act on
  let origin = 0; // the start of a range that is selected with Shift
  let columns = 1;
  let tile = TILE;

  const isSelected = (id) => store.selected.includes(id);
  const box = new LightBox({
    root, model, cache, viewer: store.viewer, cards: () => shown, isSelected,
    onSelect: (id) => toggle(id),
    onMove: (index) => {
      activate(index);
      origin = active;
    },
    onClose: () => view.focus({ preventScroll: true }),
  });
  const comparison = new CompareBox({ root, cache });

  function arrange() {
    const kept = shown[active]?.id;
    const passes = parseFilter(tools.filter.value.trim());
    const cards = [...store.cards.values()].filter(passes);
    shown = sortedCards(cards, sortKey, descending);
    const index = shown.findIndex((card) => card.id === kept);
    active = Math.min(Math.max(index, 0), Math.max(shown.length - 1, 0));
    drawSorts();
    box.arranged();
    draw();
  }
  const arrangeSoon = framed(arrange);

  function drawSorts() {
    const names = parameterNames(store.cards.values());
    const signature = names.join();
    if (drawSorts.signature === signature) return;
    drawSorts.signature = signature;
    const group = el("optgroup", "", { label: "Parameters" });
    group.append(...names.map((value) => el("option", "", { value }, value)));
    tools.sort.replaceChildren(
      ...SORTS.map(([value, text]) => el("option", "", { value }, text)), ...(names.length ? [group] : []),
    );
    tools.sort.value = sortKey;
  }

  const draw = framed(() => {
    const width = view.clientWidth - 2 * GAP;
    if (width <= 0) return;
    columns = Math.max(Math.floor((width + GAP) / (TILE + GAP)), 2);
    tile = Math.floor((width - (columns - 1) * GAP) / columns);
    const pitch = tile + CAPTION + GAP;
    const rows = Math.ceil(shown.length / columns);
    sizer.style.height = rows ? `${rows * pitch + GAP}px` : "0";
    const wanted = rows ? Math.min(rows * pitch + GAP, MAX_HEIGHT) : 120;
    view.style.height = `${Math.max(wanted, parseFloat(view.style.height) || 0)}px`;
    const first = Math.max(Math.floor(view.scrollTop / pitch) - OVERSCAN, 0);
    const last = Math.ceil((view.scrollTop + view.clientHeight) / pitch) + OVERSCAN;
    place(first * columns, Math.min(last * columns, shown.length), pitch);
    hint.hidden = shown.length > 0;
    hint.textContent = store.cards.size ? "No image matches the filter." : store.total ? "" : model.get("hint");
    drawFoot();
    requestThumbs();
  });

  function place(from, to, pitch) {
    const wanted = [];
    for (let index = from; index < to; index += 1) {
      const card = shown[index];
      wanted.push(card.id);
      let node = nodes.get(card.id);
      if (!node) {
        node = makeCard(card.id);
        nodes.set(card.id, node);
      }
      fillCard(node, card, index);
      node.style.width = `${tile}px`;
      node.fnbFrame.style.height = `${tile}px`;
      const x = GAP + (index % columns) * (tile + GAP);
      node.style.transform = `translate(${x}px, ${GAP + Math.floor(index / columns) * pitch}px)`;
    }
    arrangeNodes(sizer, nodes, wanted);
    if (shown[active]) view.setAttribute("aria-activedescendant", `${uid}-${shown[active].id}`);
    else view.removeAttribute("aria-activedescendant");
  }

  function makeCard(id) {
    const node = el("div", "fnb-card", { role: "option", id: `${uid}-${id}` });
    node.fnbFrame = el("div", "fnb-card-frame");
    node.fnbImage = el("img", "", { alt: "", decoding: "async", draggable: "false" });
    node.fnbNote = el("div", "fnb-card-note");
    const check = el("span", "fnb-card-check", { "aria-hidden": "true", title: "Select" });
    node.fnbFrame.append(node.fnbImage, node.fnbNote, check);
    const caption = el("div", "fnb-card-caption fnb-tabular");
    node.fnbLeft = el("span");
    node.fnbRight = el("span", "fnb-dim");
    caption.append(node.fnbLeft, node.fnbRight);
    node.append(node.fnbFrame, caption);
    node.addEventListener("click", (event) => press(id, event, event.target === check));
    return node;
  }

  function fillCard(node, card, index) {
    const chosen = isSelected(card.id);
    node.setAttribute("aria-selected", String(chosen));
    node.setAttribute("aria-posinset", String(index + 1));
    node.setAttribute("aria-setsize", String(shown.length));
    node.classList.toggle("fnb-card-active", index === active);
    const url = card.error ? "" : cache.thumb(card.id) || "";
    if (node.fnbUrl !== url) {
      node.fnbUrl = url;
      if (url) node.fnbImage.src = url;
      else node.fnbImage.removeAttribute("src");
    }
    node.fnbImage.hidden = !url;
    if (node.fnbCard === card) return;
    node.fnbCard = card;
    node.fnbNote.textContent = card.error || "";
    node.classList.toggle("fnb-card-broken", Boolean(card.error));
    node.fnbLeft.textContent = card.seed ? `seed ${seedText(card)}` : card.name;
    node.fnbRight.textContent = card.width ? `${card.width}\u00d7${card.height}` : "";
    const about = [card.seed && `seed ${card.seed}`, card.prompt, card.error].filter(Boolean).join(", ");
    node.setAttribute("aria-label", `${card.name}${about ? `: ${about}` : ""}`);
    node.title = (card.prompt || card.name).slice(0, 300);
  }

  function drawFoot() {
    const count = plural(store.total, "image", "images");
    const parts = [shown.length === store.total ? count : `${shown.length.toLocaleString()} of ${count}`];
    if (store.selected.length) parts.push(`${store.selected.length.toLocaleString()} selected`);
    const text = parts.join("  \u00b7  ");
    if (foot.textContent !== text) foot.textContent = text;
    tools.all.textContent = store.selected.length ? "Clear" : "Select all";
    tools.all.disabled = !shown.length && !store.selected.length;
    tools.compare.disabled = store.selected.length !== 2;
    tools.compare.title = store.selected.length === 2
      ? "Compare the two selected images" : "Select two images to compare them";
  }

  // Thumbnails are requested when scrolling pauses, only for the cards on the screen.
  const requestThumbs = debounced(() => {
    const ids = [...nodes.values()].map((node) => node.fnbCard)
      .filter((card) => !card.error && !cache.thumbs.has(card.id)).map((card) => card.id);
    if (ids.length) model.send({ kind: "thumbs", ids });
  }, 80);

  function activate(index) {
    if (!shown.length) return;
    active = Math.min(Math.max(index, 0), shown.length - 1);
    const pitch = tile + CAPTION + GAP;
    const top = Math.floor(active / columns) * pitch;
    if (top < view.scrollTop) view.scrollTop = top;
    else if (top + pitch + GAP > view.scrollTop + view.clientHeight) {
      view.scrollTop = top + pitch + GAP - view.clientHeight;
    }
    draw();
  }

  function toggle(id) {
    store.select(toggled(store.selected, id));
  }

  function selectRange(to) {
    store.select(withRange(store.selected, shown, origin, to));
  }

  function press(id, event, onCheck) {
    const index = shown.findIndex((card) => card.id === id);
    if (index < 0) return;
    active = index;
    view.focus({ preventScroll: true });
    if (event.shiftKey) {
      selectRange(index);
    } else if (onCheck || event.ctrlKey || event.metaKey) {
      origin = index;
      toggle(id);
    } else {
      origin = index;
      box.show(index);
    }
  }

  function moveTo(index, extend) {
    activate(index);
    if (extend) selectRange(active);
    else origin = active;
  }

  view.addEventListener("keydown", (event) => {
    if (!shown.length || event.altKey) return;
    const page = Math.max(Math.floor(view.clientHeight / (tile + CAPTION + GAP)), 1) * columns;
    const chord = event.ctrlKey || event.metaKey;
    const to = chord ? null : gridTarget(event.key, { active, count: shown.length, columns, page });
    if (to !== null) {
      if (to >= 0) moveTo(to, event.shiftKey);
    } else if (event.key === "Enter" && !chord) {
      box.show(active);
    } else if (event.key === " ") {
      origin = active;
      toggle(shown[active].id);
    } else if (event.key === "a" && chord) {
      store.select(shown.map((card) => card.id));
    } else if (event.key === "Escape" && store.selected.length) {
      store.select([]);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });

  const filterSoon = debounced(() => {
    view.scrollTop = 0;
    arrange();
  }, 120);
  tools.filter.addEventListener("input", filterSoon);
  tools.sort.addEventListener("change", () => {
    sortKey = tools.sort.value;
    descending = sortKey === "date" || (sortKey === "order" && model.get("newest_first"));
    drawTurn();
    arrange();
  });
  tools.turn.addEventListener("click", () => {
    descending = !descending;
    drawTurn();
    arrange();
  });
  function drawTurn() {
    tools.turn.textContent = descending ? "\u2193" : "\u2191";
    tools.turn.title = descending ? "Descending" : "Ascending";
    tools.turn.setAttribute("aria-label", tools.turn.title);
  }
  tools.all.addEventListener("click", () => {
    store.select(store.selected.length ? [] : shown.map((card) => card.id));
  });
  tools.compare.addEventListener("click", () => {
    const [left, right] = store.selected.map((id) => store.cards.get(id));
    if (left && right) comparison.show(left, right);
  });

  function onStore(what, message) {
    if (what === "cards") arrangeSoon();
    else if (what === "details") box.take(message);
    else if (what === "late") box.takeLate(message.id);
    else draw();
  }
  view.addEventListener("scroll", draw, { passive: true });
  const resized = new ResizeObserver(draw);
  resized.observe(root);
  store.listeners.add(onStore);
  drawTurn();
  arrange();
  return () => {
    for (const pending of [draw, arrangeSoon, requestThumbs, filterSoon]) pending.cancel();
    resized.disconnect();
    store.listeners.delete(onStore);
    box.box.close();
    comparison.destroy();
  };
}

export default { initialize, render: watched(render) };
