// The log view: it follows, pauses when scrolled up, searches, filters, and loads earlier lines.

const OVERSCAN = 12;
const NEAR_TOP = 300;
const ANSWER_MS = 2500;
const AGAIN_MS = 1000;
const EARLIER_BYTES = 512 << 10;
const stores = new Map();

function plural(count, one, many) {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}

function bytesText(count) {
  return count < 1e6 ? `${Math.max(Math.round(count / 1e3), 1)} KB` : `${(count / 1e6).toFixed(1)} MB`;
}

// One store for all views of a model on this page; it lives as long as the model does.
function initialize({ model }) {
  const store = new LogStore();
  store.viewer = viewerId();
  store.views = 0;
  stores.set(model.get("uid"), store);
  let asked = 0;

  store.open = () => {
    asked = Date.now();
    model.send({ kind: "open", viewer: store.viewer, epoch: store.epoch, end: store.end });
  };
  store.shut = () => model.send({ kind: "shut", viewer: store.viewer });

  function begin() {
    const first = model.get("first");
    if (first && first.epoch) store.reset(first);
  }

  function onMessage(message, buffers) {
    if (message.kind === "lines") {
      if (message.epoch === store.epoch && message.at === store.end) store.append(message);
      else if (Date.now() - asked > AGAIN_MS) store.open();
    } else if (message.kind === "reset") {
      store.reset(message);
    } else if (message.kind === "earlier") {
      if (message.epoch === store.epoch) store.prepend(message);
    } else if (message.kind === "state") {
      store.state = message.state;
      store.tell("state");
    } else if (message.kind === "part" && message.viewer === store.viewer) {
      store.onPart?.(buffers[0], message.last);
    }
  }

  // A page that is left must not keep the kernel reading the log.
  const leave = () => store.views && store.shut();
  begin();
  model.on("change:first", begin);
  model.on("msg:custom", onMessage);
  window.addEventListener("pagehide", leave);
  return () => {
    stores.delete(model.get("uid"));
    model.off("change:first", begin);
    model.off("msg:custom", onMessage);
    window.removeEventListener("pagehide", leave);
  };
}

function toolbar() {
  const bar = el("div", "fnb-log-bar", { role: "toolbar", "aria-label": "Log" });
  const title = el("span", "fnb-log-title");
  const find = el("input", "fnb-field fnb-log-find", {
    type: "search", placeholder: "Search", "aria-label": "Search the log", spellcheck: "false",
  });
  const found = el("span", "fnb-log-found fnb-dim fnb-tabular", { role: "status" });
  const previous = button("fnb-log-icon", "\u2191", "Previous match (Shift+Enter)");
  const next = button("fnb-log-icon", "\u2193", "Next match (Enter)");
  const level = el("select", "fnb-field fnb-log-level", { "aria-label": "Which lines" });
  for (const [value, text] of [["0", "All lines"], ["1", "Warnings"], ["2", "Errors"]]) {
    level.append(el("option", "", { value }, text));
  }
  const wrap = button("", "Wrap", "Wrap long lines");
  wrap.setAttribute("aria-pressed", "false");
  const copy = button("", "Copy", "Copy the lines that are shown");
  const download = button("", "Download", "Download the whole log");
  const search = el("span", "fnb-log-search");
  search.append(find, found, previous, next);
  const tools = el("span", "fnb-log-tools");
  tools.append(level, wrap, copy, download);
  bar.append(title, search, tools);
  return { bar, title, find, found, previous, next, level, wrap, copy, download };
}

function render({ model, el: host }) {
  const root = el("section", "fnb-widget fnb-log", {
    "aria-label": `Log of ${model.get("label")}`, "data-lm-suppress-shortcuts": "true",
  });
  host.append(root);
  if (model.get("note")) {
    root.classList.add("fnb-log-none");
    root.textContent = model.get("note");
    return undefined;
  }
  const store = stores.get(model.get("uid"));
  const tools = toolbar();
  tools.title.textContent = model.get("label");
  tools.title.title = `Log of ${model.get("label")}`;
  const frame = el("div", "fnb-log-frame");
  const view = el("div", "fnb-log-view", {
    tabindex: "0", role: "log", "aria-live": "off", "aria-label": `Log lines of ${model.get("label")}`,
  });
  const sizer = el("div", "fnb-log-sizer");
  const probe = el("span", "fnb-log-probe", { "aria-hidden": "true" }, "0".repeat(100));
  view.append(sizer, probe);
  const jump = button("fnb-log-jump", "");
  jump.hidden = true;
  frame.append(view, jump);
  const foot = el("div", "fnb-log-foot fnb-dim fnb-tabular");
  const summary = el("span", "fnb-log-summary");
  const message = el("span", "", { role: "status" });
  const earlier = button("fnb-log-earlier", "");
  foot.append(summary, message, earlier);
  root.append(tools.bar, frame, foot);

  const rows = new Rows(store);
  const layout = new Layout(rows);
  const search = new Search(rows);
  const nodes = new Map();
  let follow = true;
  let wrapped = false;
  let seen = store.end;
  let anchor = null; // the topmost row on the screen, by its number, and how far it is scrolled
  let shifted = true; // whether rows may have moved under the anchor
  let loading = 0;
  let redraws = 0;
  let characterWidth = 7;

  const draw = framed(() => {
    const width = view.clientWidth;
    if (!width) return;
    measureFont(width);
    const total = layout.update();
    sizer.style.height = `${total}px`;
    sizer.style.width = wrapped ? "100%" : `max(100%, ${Math.ceil(store.longest * characterWidth) + 20}px)`;
    if (follow) view.scrollTop = total;
    else if (shifted && anchor) view.scrollTop = layout.top(rows.indexOf(anchor.number)) + anchor.offset;
    shifted = false;
    const from = Math.max(layout.find(view.scrollTop) - OVERSCAN, 0);
    const to = Math.min(layout.find(view.scrollTop + view.clientHeight) + OVERSCAN, rows.length - 1);
    place(from, to);
    remember();
    drawFoot();
    if (wrapped && correct(from, to) && redraws < 8) {
      redraws += 1;
      shifted = true;
      draw();
    } else {
      redraws = 0;
    }
    if (!follow && view.scrollTop < NEAR_TOP) loadEarlier();
  });

  function measureFont(width) {
    const box = probe.getBoundingClientRect();
    const height = Math.round(box.height) || 17;
    characterWidth = box.width / 100 || 7;
    const columns = wrapped ? Math.max(Math.floor((width - 20) / characterWidth), 8) : 0;
    if (height !== layout.height || columns !== layout.columns) {
      layout.height = height;
      layout.columns = columns;
      layout.clear();
      shifted = true;
    }
  }

  function place(from, to) {
    const wanted = [];
    for (let index = from; index <= to; index += 1) {
      const number = rows.at(index);
      wanted.push(number);
      const text = store.text(number);
      const look = `${store.level(number)}${number === search.number ? "c" : ""}`;
      let node = nodes.get(number);
      if (!node) {
        node = el("div", "fnb-log-row");
        nodes.set(number, node);
      }
      if (node.fnbText !== text || node.fnbPattern !== search.pattern) {
        fillRow(node, text, search.pattern);
        node.fnbText = text;
        node.fnbPattern = search.pattern;
      }
      if (node.fnbLook !== look) {
        node.fnbLook = look;
        node.className = `fnb-log-row fnb-log-${look[0]}${look[1] ? " fnb-log-current" : ""}`;
      }
      node.style.transform = `translateY(${layout.top(index)}px)`;
    }
    arrangeNodes(sizer, nodes, wanted);
  }

  function correct(from, to) {
    let wrong = false;
    for (let index = from; index <= to; index += 1) {
      const node = nodes.get(rows.at(index));
      if (node && layout.correct(index, node.offsetHeight)) wrong = true;
    }
    return wrong;
  }

  function remember() {
    const index = layout.find(view.scrollTop);
    anchor = rows.length ? { number: rows.at(index), offset: view.scrollTop - layout.top(index) } : null;
  }

  function drawFoot() {
    const held = plural(store.texts.length, "line", "lines");
    const shown = rows.numbers ? `${rows.length.toLocaleString()} of ${held}` : held;
    const parts = [shown];
    if (store.counts.e) parts.push(plural(store.counts.e, "error", "errors"));
    if (store.counts.w) parts.push(plural(store.counts.w, "warning", "warnings"));
    if (store.state) parts.push(store.state);
    parts.push(follow ? "following" : "paused");
    setText(summary, parts.join("  \u00b7  "));
    earlier.hidden = !store.more;
    earlier.disabled = Boolean(loading) || store.full;
    const rest = bytesText(store.more);
    setText(earlier, loading ? "Loading earlier lines" : store.full ? `${rest} more in the file` : `Earlier lines (${rest})`);
    const fresh = rows.numbers
      ? rows.length - rows.indexOf(seen)
      : store.end - seen;
    jump.hidden = follow;
    setText(jump, fresh > 0 ? `Jump to newest (${plural(fresh, "new line", "new lines")})` : "Jump to newest");
    setText(tools.found, search.label);
    tools.previous.disabled = tools.next.disabled = !search.found.length;
  }

  function setText(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  function showMessage(text) {
    message.textContent = text;
    clearTimeout(showMessage.timer);
    showMessage.timer = setTimeout(() => {
      message.textContent = "";
    }, 4000);
  }

  function loadEarlier() {
    if (loading || !store.more || store.full) return;
    loading = setTimeout(() => {
      loading = 0;
      showMessage("The kernel is busy: earlier lines follow when it responds.");
      draw();
    }, ANSWER_MS);
    const { epoch, place } = store;
    fromServer(place).then((page) => {
      if (epoch !== store.epoch || place !== store.place) return; // they have come another way
      if (page) store.prepend({ ...page, place: page.begin });
      else model.send({ kind: "earlier", place });
    });
    draw();
  }

  // Resolves to the lines before a place, by HTTP; to null where the server has none.
  async function fromServer(place) {
    if (!place || !model.get("pid")) return null;
    const query = new URLSearchParams({ before: place, bytes: EARLIER_BYTES });
    const answer = await askExtension(`engines/${model.get("pid")}/log?${query}`);
    return answer?.ok ? answer.json().catch(() => null) : null;
  }

  function setFollow(value) {
    if (follow && !value) seen = store.end;
    follow = value;
    draw();
  }

  function onScroll() {
    const rest = view.scrollHeight - view.scrollTop - view.clientHeight;
    const atEnd = rest < layout.height * 1.5;
    remember();
    if (atEnd !== follow) setFollow(atEnd);
    else draw();
  }

  function onStore(what) {
    if (what === "state") {
      draw();
      return;
    }
    if (what === "append") {
      const before = rows.upTo;
      const trimmed = onStore.first !== store.first;
      rows.extend();
      search.extend();
      if (trimmed) {
        layout.clear();
        search.restart();
        shifted = true;
      } else {
        layout.forget(rows.numbers ? rows.indexOf(before) : Math.max(before - store.first, 0));
      }
    } else {
      if (what === "reset") {
        follow = true;
        seen = store.end;
        nodes.forEach((node) => node.remove());
        nodes.clear();
      }
      if (what === "prepend") {
        clearTimeout(loading);
        loading = 0;
      }
      rows.rebuild();
      search.restart();
      layout.clear();
      shifted = true;
    }
    onStore.first = store.first;
    draw();
  }
  onStore.first = store.first;

  function showMatch() {
    if (search.number === undefined) {
      draw();
      return;
    }
    setFollow(false);
    draw.cancel();
    measureFont(view.clientWidth);
    layout.update();
    const index = rows.indexOf(search.number);
    const middle = layout.top(index) - (view.clientHeight - layout.height) / 2;
    view.scrollTop = Math.max(middle, 0);
    remember();
    draw();
  }

  const startSearch = debounced(() => {
    search.start(tools.find.value.trim());
    showMatch();
  }, 150);

  function step(by) {
    search.step(by);
    showMatch();
  }

  tools.find.addEventListener("input", startSearch);
  tools.find.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      step(event.shiftKey ? -1 : 1);
    } else if (event.key === "Escape" && tools.find.value) {
      event.stopPropagation();
      tools.find.value = "";
      startSearch();
    }
  });
  tools.next.addEventListener("click", () => step(1));
  tools.previous.addEventListener("click", () => step(-1));
  tools.level.addEventListener("change", () => {
    rows.filter(Number(tools.level.value));
    search.restart();
    layout.clear();
    shifted = true;
    draw();
  });
  tools.wrap.addEventListener("click", () => {
    wrapped = !wrapped;
    tools.wrap.setAttribute("aria-pressed", String(wrapped));
    view.classList.toggle("fnb-log-wrapped", wrapped);
    shifted = true;
    if (follow) draw();
    else showMatch();
  });
  tools.copy.addEventListener("click", async () => {
    const numbers = rows.numbers || Array.from({ length: store.texts.length }, (_, i) => store.first + i);
    const done = await copyText(numbers.map((number) => store.text(number)).join("\n"), root);
    showMessage(done ? `${plural(numbers.length, "line", "lines")} copied` : "The browser does not allow copying.");
  });

  let parts = null;
  let waiting = 0;
  function saveLoaded() {
    parts = null;
    saveBlob(new Blob([`${store.texts.join("\n")}\n`], { type: "text/plain" }), fileName());
    showMessage("The kernel is busy: saved the lines that are loaded.");
  }
  function fileName() {
    return `${model.get("label").replace(/[^\w.-]+/g, "_") || "engine"}.log`;
  }
  tools.download.addEventListener("click", async () => {
    const pid = model.get("pid");
    const answer = pid ? await askExtension(`engines/${pid}/log/file`) : null;
    const file = answer?.ok ? await answer.blob().catch(() => null) : null;
    if (file) {
      saveBlob(file, fileName());
      return;
    }
    if (parts) return; // the parts of two files would mix
    parts = [];
    clearTimeout(waiting);
    waiting = setTimeout(saveLoaded, ANSWER_MS);
    store.onPart = (part, last) => {
      if (!parts) return;
      clearTimeout(waiting);
      parts.push(part);
      if (last) {
        saveBlob(new Blob(parts, { type: "text/plain" }), fileName());
        parts = null;
      } else {
        waiting = setTimeout(saveLoaded, 4 * ANSWER_MS);
      }
    };
    model.send({ kind: "whole", viewer: store.viewer });
  });
  earlier.addEventListener("click", () => {
    setFollow(false);
    loadEarlier();
  });
  jump.addEventListener("click", () => {
    setFollow(true);
    view.focus({ preventScroll: true });
  });
  view.addEventListener("scroll", onScroll, { passive: true });
  view.addEventListener("keydown", (event) => {
    if (event.key === "/" || (event.key === "f" && (event.ctrlKey || event.metaKey))) {
      event.preventDefault();
      tools.find.focus();
    }
  });

  const resized = new ResizeObserver(() => {
    shifted = true;
    draw();
  });
  resized.observe(view);
  store.listeners.add(onStore);
  store.views += 1;
  if (store.views === 1) store.open();
  draw();
  return () => {
    draw.cancel();
    startSearch.cancel();
    clearTimeout(loading);
    clearTimeout(waiting);
    clearTimeout(showMessage.timer);
    resized.disconnect();
    store.listeners.delete(onStore);
    store.views -= 1;
    if (store.views === 0) store.shut();
  };
}

export default { initialize, render: watched(render) };
