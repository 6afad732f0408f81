// The control panel's form: groups of fields, a search over all of them, and the buttons.

// Another preset has other defaults and may have other choices: then the form is rebuilt.
function render({ model, el: host }) {
  let remove = show(model, host);
  const again = () => {
    const field = host.querySelector(".fnb-panel-field:focus-within")?.dataset.name;
    remove();
    remove = show(model, host);
    if (field) host.querySelector(`[data-name="${CSS.escape(field)}"] :is(input, select, textarea)`)?.focus();
  };
  model.on("change:form", again);
  return () => {
    model.off("change:form", again);
    remove();
  };
}

function show(model, host) {
  const root = el("div", "fnb-widget fnb-panel", {
    role: "group",
    "aria-label": "Fooocus control panel",
    // Keys must not reach the notebook's shortcuts.
    "data-lm-suppress-shortcuts": "true",
  });
  const form = model.get("form");
  const late = el("div", "fnb-panel-late", { role: "status" });
  const wire = new Wire(model, (isLate) => {
    late.textContent = isLate ? "The kernel is busy or gone: your changes are sent when it responds." : "";
  });

  const fields = new Map();
  const groups = form.groups.map((group) => makeGroup(group));
  function makeGroup(group) {
    const own = [];
    const bodies = group.sections.map((section) => {
      const grid = el("div", "fnb-panel-grid");
      for (const name of section.names) {
        const field = makeField(name, form.fields[name], wire);
        fields.set(name, field);
        own.push(field);
        grid.append(field.node);
      }
      if (!section.title) return grid;
      const title = el("div", "fnb-panel-section");
      title.textContent = section.title;
      return wrap("div", "fnb-panel-part", { role: "group", "aria-label": section.title }, title, grid);
    });
    const badge = el("span", "fnb-panel-badge");
    if (!group.title) {
      return { key: group.key, node: wrap("div", `fnb-panel-open fnb-panel-${group.key}`, {}, ...bodies), fields: own, badge };
    }
    const title = el("h4", "fnb-panel-title");
    title.textContent = group.title;
    const id = newId();
    const node = wrap("section", "fnb-panel-group", { id, "aria-label": group.title }, title, ...bodies);
    const tab = button("fnb-panel-tab", group.title);
    tab.setAttribute("aria-controls", id);
    tab.append(badge);
    const made = { key: group.key, node, fields: own, badge, tab, title };
    tab.addEventListener("click", () => open(opened === made ? null : made));
    return made;
  }

  // One group is open at a time, so that the form stays short; a search shows what it finds.
  let opened = null;
  let searching = false;
  function open(group) {
    opened = group;
    for (const one of groups) {
      if (!one.tab) continue;
      one.tab.setAttribute("aria-expanded", String(one === opened));
      one.node.hidden = searching ? !one.found : one !== opened;
      one.title.hidden = !searching;
    }
  }

  const generate = button("fnb-panel-primary", "Generate");
  generate.title = "Ctrl+Enter in a prompt";
  const copy = button("", "Copy as cell");
  const resetAll = button("", "Reset all");
  const queue = el("span", "fnb-panel-dim", { role: "status" });
  const preset = makePreset(form, wire);
  const filter = el("input", "fnb-panel-text fnb-panel-filter", { type: "search", placeholder: `Find one of ${fields.size} settings`, "aria-label": "Find a setting" });
  const onlySet = el("input", "", { type: "checkbox" });
  const onlyLabel = wrap("label", "fnb-panel-only", {}, onlySet, "changed only");
  const found = el("div", "fnb-panel-dim", { role: "status" });
  const note = el("div", "fnb-panel-note", { role: "alert" });
  const detail = el("pre", "fnb-panel-detail");
  const cell = el("textarea", "fnb-panel-cell", { readonly: "", rows: "3", "aria-label": "The cell that generates this" });
  cell.hidden = true;
  const bar = wrap("div", "fnb-panel-bar", {}, generate, copy, resetAll, preset, queue, wrap("div", "fnb-panel-find", {}, filter, onlyLabel));
  const [prompt, ...others] = groups;
  const tabs = el("div", "fnb-panel-tabs", { role: "group", "aria-label": "Groups of settings" });
  tabs.append(...groups.filter((group) => group.tab).map((group) => group.tab));
  const always = others.filter((group) => !group.tab);
  const folded = others.filter((group) => group.tab);
  root.append(prompt.node, bar, late, note, detail, cell);
  root.append(...always.map((group) => group.node), tabs, found, ...folded.map((group) => group.node));
  host.append(root);
  open(null);

  let drawn = {};
  let shown = {};
  function draw() {
    const values = model.get("values");
    const errors = model.get("errors");
    const images = model.get("images");
    for (const field of fields.values()) {
      field.draw(values, errors);
      for (const [slot, item] of field.images) {
        if (item.data !== images[slot]) {
          item.data = images[slot];
          item.show(item.data);
        } else if (item.data === undefined) item.show(null);
      }
    }
    for (const group of groups) {
      const count = group.fields.filter((field) => field.changed).length;
      group.badge.textContent = count ? String(count) : "";
      group.badge.title = count ? `${count} changed` : "";
    }
    // A cell that was copied is outdated as soon as a value changes.
    if (!same(values, shown)) cell.hidden = true;
    shown = values;
    const wrong = groups.find((group) => group.tab && group.fields.some((field) => errors[field.name]));
    if (wrong && wrong !== opened && !same(errors, drawn)) open(wrong);
    drawn = errors;
    if (onlySet.checked) search();
  }

  function drawState() {
    const state = model.get("state");
    if (note.textContent !== (state.note || "")) note.textContent = state.note || "";
    detail.textContent = state.detail || "";
    detail.hidden = !state.detail;
    const waiting = state.waiting ? `, ${state.waiting} more waiting` : "";
    const text = state.doing || (state.running ? `Generating${waiting}` : "");
    if (queue.textContent !== text) queue.textContent = text;
    for (const field of fields.values()) field.state(state);
  }

  function search() {
    const words = searchWords(filter.value);
    searching = words.length > 0 || onlySet.checked;
    let count = 0;
    for (const group of others) {
      group.found = 0;
      for (const field of group.fields) {
        const fits = matchesAll(field.words, words) && (!onlySet.checked || field.changed);
        field.node.hidden = searching && !fits;
        if (fits) group.found += 1;
      }
      for (const section of group.node.querySelectorAll(".fnb-panel-part")) {
        section.hidden = [...section.querySelectorAll(".fnb-panel-field")].every((node) => node.hidden);
      }
      if (!group.tab) group.node.hidden = searching && !group.found;
      count += group.found;
    }
    tabs.hidden = searching;
    found.hidden = !searching;
    found.textContent = searching ? `${count} of ${fields.size} settings` : "";
    open(opened);
  }

  filter.addEventListener("input", search);
  onlySet.addEventListener("change", search);
  generate.addEventListener("click", () => wire.command({ kind: "generate" }));
  copy.addEventListener("click", () => wire.command({ kind: "cell" }));
  resetAll.addEventListener("click", () => wire.command({ kind: "reset" }));
  root.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("textarea, input")) {
      event.preventDefault();
      event.stopPropagation();
      wire.command({ kind: "generate" });
    }
  });

  let copied = 0;
  async function onMessage(message) {
    if (message.kind === "took") {
      wire.took(message.id);
      draw();
    } else if (message.kind === "cell" && wire.sent(message.id)) {
      cell.value = message.text;
      cell.hidden = false;
      cell.rows = Math.min(message.text.split("\n").length + 1, 10);
      const done = await copyText(message.text, root);
      copy.textContent = done ? "Copied" : "Select and copy it below";
      clearTimeout(copied);
      copied = setTimeout(() => (copy.textContent = "Copy as cell"), 2500);
    }
  }

  const events = {
    "change:values": draw,
    "change:errors": draw,
    "change:images": draw,
    "change:state": drawState,
    "msg:custom": onMessage,
  };
  for (const [name, handler] of Object.entries(events)) model.on(name, handler);
  draw();
  drawState();
  return () => {
    wire.flush();
    wire.stop();
    clearTimeout(copied);
    for (const field of fields.values()) for (const [, item] of field.images) item.show(null);
    root.remove();
    for (const [name, handler] of Object.entries(events)) model.off(name, handler);
  };
}

export default { render: watched(render) };
