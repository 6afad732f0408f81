// The control panel's form. All text is set with textContent: nothing is ever parsed.

const DEBOUNCE_MS = 250;
const ACK_MS = 1500;
const FEW_CHOICES = 5;
const SHORT_CHOICE = 16;

let ids = 0;
const newId = () => `fnb-panel-${Date.now().toString(36)}-${++ids}`;

function el(tag, className = "", attributes = {}, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function button(text, className = "", attributes = {}) {
  const node = el("button", `fnb-panel-button ${className}`, { type: "button", ...attributes });
  node.textContent = text;
  return node;
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

async function copyText(text, field) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages without TLS have no clipboard; the old way still works there.
    field.focus();
    field.select();
    return document.execCommand("copy");
  }
}

// What people do goes out in order: changes are gathered for a moment, orders take them along.
class Wire {
  constructor(model, onLate) {
    this.model = model;
    this.onLate = onLate;
    this.edits = {};
    this.flying = new Map();
    this.timer = 0;
    this.late = 0;
    this.next = 0;
  }
  change(name, value, now = false) {
    this.edits[name] = value;
    clearTimeout(this.timer);
    if (now) this.flush();
    else this.timer = setTimeout(() => this.flush(), DEBOUNCE_MS);
  }
  flush() {
    clearTimeout(this.timer);
    const changes = this.edits;
    this.edits = {};
    if (Object.keys(changes).length) this.send({ kind: "set", changes }, Object.keys(changes));
  }
  order(content, buffers) {
    this.flush();
    this.send(content, [], buffers);
  }
  send(content, names, buffers) {
    const id = ++this.next;
    this.flying.set(id, names);
    this.model.send({ ...content, id }, undefined, buffers);
    clearTimeout(this.late);
    this.late = setTimeout(() => this.onLate(true), ACK_MS);
  }
  took(id) {
    if (!this.flying.delete(id) || this.flying.size) return;
    clearTimeout(this.late);
    this.onLate(false);
  }
  // A value on its way is newer than what the kernel says.
  busy(name) {
    return name in this.edits || [...this.flying.values()].some((names) => names.includes(name));
  }
  stop() {
    clearTimeout(this.timer);
    clearTimeout(this.late);
  }
}

// ---- controls: each has a node, the node that gets the label, and set(value) ----

function textControl(field, change) {
  const long = field.kind === "long text";
  const node = long ? el("textarea", "", { rows: "1" }) : el("input", "", { type: "text" });
  node.className = "fnb-panel-text";
  node.spellcheck = false;
  node.addEventListener("input", () => change(node.value));
  node.addEventListener("change", () => change(node.value, true));
  return { node, target: node, set: (value) => (node.value = value ?? "") };
}

function seedControl(field, change) {
  const node = el("input", "fnb-panel-text", { type: "text", inputmode: "numeric", placeholder: "random" });
  const reuse = button("Reuse last", "fnb-panel-small");
  reuse.hidden = true;
  let last = "";
  node.addEventListener("input", () => change(node.value.trim()));
  node.addEventListener("change", () => change(node.value.trim(), true));
  reuse.addEventListener("click", () => {
    node.value = last;
    change(last, true);
  });
  return {
    node: el("div", "fnb-panel-row", {}, node, reuse),
    target: node,
    set: (value) => (node.value = value ?? ""),
    state(state) {
      last = state.seed || "";
      reuse.hidden = !last;
      reuse.title = `The last seed was ${last}`;
    },
  };
}

function numberControl(field, change) {
  const limits = {};
  if (field.minimum !== undefined) limits.min = field.minimum;
  if (field.maximum !== undefined) limits.max = field.maximum;
  if (field.step !== undefined) limits.step = field.step;
  const box = el("input", "fnb-panel-text fnb-panel-number", { type: "number", ...limits, step: limits.step || "any" });
  const send = (value, now) => change(value === "" ? null : Number(value), now);
  box.addEventListener("input", () => send(box.value));
  box.addEventListener("change", () => send(box.value, true));
  const row = el("div", "fnb-panel-row");
  let slider = null;
  if ("min" in limits && "max" in limits) {
    // The number beside it says the same to a screen reader, and takes the keyboard.
    slider = el("input", "fnb-panel-slider", { type: "range", ...limits, tabindex: "-1", "aria-hidden": "true" });
    slider.addEventListener("input", () => {
      box.value = slider.value;
      send(slider.value);
    });
    box.addEventListener("input", () => (slider.value = box.value));
    row.append(slider);
  }
  row.append(box);
  return {
    node: row,
    target: box,
    set(value) {
      box.value = value ?? "";
      if (slider) slider.value = value ?? field.default;
    },
  };
}

function booleanControl(field, change) {
  const node = el("input", "", { type: "checkbox" });
  node.addEventListener("change", () => change(node.checked, true));
  return { node, target: node, inline: true, set: (value) => (node.checked = !!value) };
}

function choiceControl(field, change, label) {
  const choices = field.choices || [];
  if (choices.length <= FEW_CHOICES && choices.every(([, text]) => text.length <= SHORT_CHOICE)) {
    return radioControl(choices, change, label);
  }
  const node = el("select", "fnb-panel-text");
  for (const [value, text] of choices) {
    const option = el("option", "", { value });
    option.textContent = text;
    node.append(option);
  }
  node.addEventListener("change", () => change(node.value, true));
  return { node, target: node, set: (value) => (node.value = value ?? "") };
}

function radioControl(choices, change, label) {
  const name = newId();
  const node = el("div", "fnb-panel-segments", { role: "radiogroup", "aria-label": label });
  const boxes = choices.map(([value, text]) => {
    const box = el("input", "", { type: "radio", name, value });
    box.addEventListener("change", () => change(value, true));
    const words = el("span");
    words.textContent = text;
    node.append(el("label", "", {}, box, words));
    return box;
  });
  return { node, set: (value) => boxes.forEach((box) => (box.checked = box.value === value)) };
}

function choicesControl(field, change, label) {
  const choices = field.choices || [];
  const chosen = new Set();
  const chips = el("div", "fnb-panel-chips", { role: "list", "aria-label": `${label}: chosen` });
  const search = el("input", "fnb-panel-text", { type: "search", placeholder: `Search ${choices.length} choices`, "aria-label": `Search: ${label}` });
  const list = el("div", "fnb-panel-list", { role: "group", "aria-label": label, tabindex: "-1" });
  const none = el("div", "fnb-panel-dim");
  none.textContent = "Nothing of that name.";
  none.hidden = true;
  const rows = choices.map(([value, text]) => {
    const box = el("input", "", { type: "checkbox", value });
    const words = el("span");
    words.textContent = text;
    const row = el("label", "", {}, box, words);
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(value);
      else chosen.delete(value);
      drawChips();
      change([...chosen], true);
    });
    list.append(row);
    return { box, row, value, text, words: text.toLowerCase() };
  });
  list.append(none);
  const searchable = choices.length > 8;
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.row.hidden = !row.words.includes(wanted);
      if (!row.row.hidden) shown += 1;
    }
    none.hidden = shown > 0;
  });
  function drawChips() {
    const titles = new Map(choices);
    chips.replaceChildren(
      ...[...chosen].map((value) => {
        const chip = el("span", "fnb-panel-chip", { role: "listitem" });
        const words = el("span");
        words.textContent = titles.get(value) ?? value;
        const remove = button("×", "fnb-panel-bare", { "aria-label": `Remove ${words.textContent}` });
        remove.addEventListener("click", () => {
          chosen.delete(value);
          draw();
          change([...chosen], true);
          (search.isConnected ? search : list).focus();
        });
        chip.append(words, remove);
        return chip;
      }),
    );
  }
  function draw() {
    for (const row of rows) row.box.checked = chosen.has(row.value);
    drawChips();
  }
  const node = el("div", "fnb-panel-choices");
  if (searchable) node.append(chips, search);
  node.append(list);
  return {
    node,
    set(value) {
      chosen.clear();
      for (const item of value || []) chosen.add(item);
      draw();
    },
  };
}

function pictureControl(field, slot, label, wire) {
  const file = el("input", "fnb-panel-file", { type: "file", accept: "image/*", "aria-label": label });
  const image = el("img", "", { alt: `${label}: chosen picture` });
  const words = el("span", "fnb-panel-dim");
  const what = slot.endsWith(".mask") ? "its mask (white is painted)" : "a picture";
  words.textContent = `Drop ${what} here, or choose one`;
  const zone = el("label", "fnb-panel-drop", {}, file, image, words);
  const remove = button("Remove", "fnb-panel-small");
  let url = null;
  async function take(picked) {
    if (picked) wire.order({ kind: "picture", slot, name: picked.name }, [await picked.arrayBuffer()]);
    file.value = "";
  }
  file.addEventListener("change", () => take(file.files[0]));
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    event.stopPropagation();
    zone.classList.add("fnb-panel-over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("fnb-panel-over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    zone.classList.remove("fnb-panel-over");
    take([...event.dataTransfer.files].find((one) => one.type.startsWith("image/")));
  });
  remove.addEventListener("click", () => wire.order({ kind: "remove", slot }));
  return {
    node: el("div", "fnb-panel-picture", {}, zone, remove),
    target: file,
    show(data) {
      if (url) URL.revokeObjectURL(url);
      url = data && data.byteLength ? URL.createObjectURL(new Blob([data], { type: "image/jpeg" })) : null;
      if (url) image.src = url;
      else image.removeAttribute("src");
      image.hidden = remove.hidden = !url;
      words.hidden = !!url;
    },
  };
}

function otherControl(field) {
  const node = el("span", "fnb-panel-dim");
  node.textContent = `Set it from Python: panel.values["${field.words.split(" ")[0]}"]`;
  return { node, set() {} };
}

const CONTROLS = {
  "long text": textControl,
  text: textControl,
  seed: seedControl,
  integer: numberControl,
  number: numberControl,
  boolean: booleanControl,
  choice: choiceControl,
  choices: choicesControl,
};

// ---- a field: label, hint, reset, control, error ----

function makeField(name, field, wire) {
  const change = (value, now) => wire.change(name, value, now);
  const isPicture = field.kind === "image" || field.kind === "mask image";
  const pictures = [];
  let control;
  if (isPicture) {
    pictures.push([name, pictureControl(field, name, field.label, wire)]);
    if (field.kind === "mask image") {
      pictures.push([`${name}.mask`, pictureControl(field, `${name}.mask`, `${field.label}: its mask`, wire)]);
    }
    const row = el("div", "fnb-panel-row", {}, ...pictures.map(([, item]) => item.node));
    control = { node: row, target: pictures[0][1].target, set() {} };
  } else {
    control = (CONTROLS[field.kind] || otherControl)(field, change, field.label);
  }
  const label = el(control.target ? "label" : "span", "fnb-panel-label");
  label.textContent = field.label;
  label.title = field.words;
  const hint = el("span", "fnb-panel-dim");
  hint.textContent = field.hint;
  const reset = button("Reset", "fnb-panel-bare fnb-panel-reset", { "aria-label": `Reset ${field.label}` });
  const error = el("div", "fnb-panel-error", { role: "alert", id: newId() });
  if (control.target) {
    control.target.id = newId();
    label.setAttribute("for", control.target.id);
    control.target.setAttribute("aria-describedby", error.id);
  }
  const head = el("div", "fnb-panel-head", {}, label, hint, reset);
  if (control.inline) head.prepend(control.node);
  const node = el("div", "fnb-panel-field", {}, head);
  if (!control.inline) node.append(control.node);
  node.append(error);
  node.classList.toggle("fnb-panel-wide", field.kind === "long text" || field.kind === "choices");
  const words = `${field.label} ${field.words} ${name}`.toLowerCase();
  reset.addEventListener("click", () => {
    control.set(field.default);
    change(null, true);
    control.target?.focus();
  });
  return {
    name, field, node, words, pictures,
    changed: false,
    draw(values, errors) {
      const text = errors[name] || "";
      if (error.textContent !== text) error.textContent = text;
      control.target?.toggleAttribute("aria-invalid", !!text);
      this.changed = name in values;
      reset.hidden = !this.changed && !text;
      node.classList.toggle("fnb-panel-set", this.changed);
      // What is being typed, or is wrong, stays as it was written.
      if (!text && !wire.busy(name)) control.set(name in values ? values[name] : field.default);
    },
    state: (state) => control.state?.(state),
  };
}

function render({ model, el: host }) {
  const root = el("div", "fnb-panel", {
    role: "group",
    "aria-label": "Fooocus control panel",
    // Or the notebook would take arrow keys and letters for its own.
    "data-lm-suppress-shortcuts": "true",
  });
  const form = model.get("form");
  const late = el("div", "fnb-panel-late", { role: "status" });
  const wire = new Wire(model, (isLate) => {
    late.textContent = isLate ? "The kernel is busy or gone: what you did here waits for it." : "";
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
      return el("div", "fnb-panel-part", { role: "group", "aria-label": section.title }, title, grid);
    });
    const badge = el("span", "fnb-panel-badge");
    if (!group.title) {
      return { key: group.key, node: el("div", `fnb-panel-open fnb-panel-${group.key}`, {}, ...bodies), fields: own, badge };
    }
    const title = el("h4", "fnb-panel-title");
    title.textContent = group.title;
    const id = newId();
    const node = el("section", "fnb-panel-group", { id, "aria-label": group.title }, title, ...bodies);
    const tab = button(group.title, "fnb-panel-tab", { "aria-controls": id });
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

  const generate = button("Generate", "fnb-panel-primary", { title: "Ctrl+Enter in a prompt" });
  const copy = button("Copy as cell");
  const resetAll = button("Reset all");
  const queue = el("span", "fnb-panel-dim", { role: "status" });
  const filter = el("input", "fnb-panel-text fnb-panel-filter", { type: "search", placeholder: `Find one of ${fields.size} settings`, "aria-label": "Find a setting" });
  const onlySet = el("input", "", { type: "checkbox" });
  const onlyLabel = el("label", "fnb-panel-only", {}, onlySet, "changed only");
  const found = el("div", "fnb-panel-dim", { role: "status" });
  const note = el("div", "fnb-panel-note", { role: "alert" });
  const detail = el("pre", "fnb-panel-detail");
  const cell = el("textarea", "fnb-panel-cell", { readonly: "", rows: "3", "aria-label": "The cell that generates this" });
  cell.hidden = true;
  const bar = el("div", "fnb-panel-bar", {}, generate, copy, resetAll, queue, el("span", "fnb-panel-gap"), filter, onlyLabel);
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
    const pictures = model.get("pictures");
    for (const field of fields.values()) {
      field.draw(values, errors);
      for (const [slot, item] of field.pictures) {
        if (item.data !== pictures[slot]) {
          item.data = pictures[slot];
          item.show(item.data);
        } else if (item.data === undefined) item.show(null);
      }
    }
    for (const group of groups) {
      const count = group.fields.filter((field) => field.changed).length;
      group.badge.textContent = count ? String(count) : "";
      group.badge.title = count ? `${count} changed` : "";
    }
    // A cell that was copied no longer says what the form says.
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
    const text = state.running ? `Generating${waiting}` : "";
    if (queue.textContent !== text) queue.textContent = text;
    for (const field of fields.values()) field.state(state);
  }

  function search() {
    const wanted = filter.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    searching = wanted.length > 0 || onlySet.checked;
    let count = 0;
    for (const group of others) {
      group.found = 0;
      for (const field of group.fields) {
        const fits = wanted.every((word) => field.words.includes(word)) && (!onlySet.checked || field.changed);
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
  generate.addEventListener("click", () => wire.order({ kind: "generate" }));
  copy.addEventListener("click", () => wire.order({ kind: "cell" }));
  resetAll.addEventListener("click", () => wire.order({ kind: "reset" }));
  root.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("textarea, input")) {
      event.preventDefault();
      event.stopPropagation();
      wire.order({ kind: "generate" });
    }
  });

  let copied = 0;
  async function onMessage(message) {
    if (message.kind === "took") {
      wire.took(message.id);
      draw();
    } else if (message.kind === "cell") {
      cell.value = message.text;
      cell.hidden = false;
      cell.rows = Math.min(message.text.split("\n").length + 1, 10);
      const done = await copyText(message.text, cell);
      copy.textContent = done ? "Copied" : "Select and copy it below";
      clearTimeout(copied);
      copied = setTimeout(() => (copy.textContent = "Copy as cell"), 2500);
    }
  }

  const events = {
    "change:values": draw,
    "change:errors": draw,
    "change:pictures": draw,
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
    for (const field of fields.values()) for (const [, item] of field.pictures) item.show(null);
    for (const [name, handler] of Object.entries(events)) model.off(name, handler);
  };
}

export default { render };
