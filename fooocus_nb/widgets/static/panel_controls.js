// The controls of the panel's form, and the messages that they send.

const DEBOUNCE_MS = 250;
const ACK_MS = 1500;
const FEW_CHOICES = 5;
const SHORT_CHOICE = 16;
const MAX_UPLOAD = 9e6; // Jupyter servers drop the connection at messages of 10 MiB

let ids = 0;
const newId = () => `fnb-panel-${viewerId()}-${++ids}`;

function wrap(tag, className = "", attributes = {}, ...children) {
  const node = el(tag, className, attributes);
  node.append(...children);
  return node;
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// Sends messages in order: changes are collected for a moment, and sent before any command.
class Wire {
  constructor(model, onLate) {
    this.model = model;
    this.onLate = onLate;
    this.edits = {};
    this.flying = new Map();
    this.timer = 0;
    this.late = 0;
    this.viewer = viewerId(); // the kernel answers all pages, and each knows its own messages
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
  command(content, buffers) {
    this.flush();
    this.send(content, [], buffers);
  }
  send(content, names, buffers) {
    const id = `${this.viewer}-${++this.next}`;
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
  sent(id) {
    return this.flying.has(id);
  }
  // A value that was not confirmed yet is newer than the kernel's.
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
  const reuse = button("fnb-panel-small", "Reuse last");
  reuse.hidden = true;
  let last = "";
  node.addEventListener("input", () => change(node.value.trim()));
  node.addEventListener("change", () => change(node.value.trim(), true));
  reuse.addEventListener("click", () => {
    node.value = last;
    change(last, true);
  });
  return {
    node: wrap("div", "fnb-panel-row", {}, node, reuse),
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
  const number = el("input", "fnb-panel-text fnb-panel-number", { type: "number", ...limits, step: limits.step || "any" });
  const send = (value, now) => change(value === "" ? null : Number(value), now);
  number.addEventListener("input", () => send(number.value));
  number.addEventListener("change", () => send(number.value, true));
  const row = el("div", "fnb-panel-row");
  let slider = null;
  if ("min" in limits && "max" in limits) {
    // For screen readers and the keyboard, the number beside it does the same.
    slider = el("input", "fnb-panel-slider", { type: "range", ...limits, tabindex: "-1", "aria-hidden": "true" });
    slider.addEventListener("input", () => {
      number.value = slider.value;
      send(slider.value);
    });
    number.addEventListener("input", () => (slider.value = number.value));
    row.append(slider);
  }
  row.append(number);
  return {
    node: row,
    target: number,
    set(value) {
      number.value = value ?? "";
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
    node.append(wrap("label", "", {}, box, words));
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
  none.textContent = "No match.";
  none.hidden = true;
  const rows = choices.map(([value, text]) => {
    const box = el("input", "", { type: "checkbox", value });
    const words = el("span");
    words.textContent = text;
    const row = wrap("label", "", {}, box, words);
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
        const remove = button("fnb-panel-bare", "×", `Remove ${words.textContent}`);
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

// A larger file is encoded again, in the image's own size if that is small enough then.
async function uploadable(file) {
  if (file.size <= MAX_UPLOAD) return file;
  try {
    const bitmap = await createImageBitmap(file);
    for (let scale = 1; ; scale *= 0.7) {
      const canvas = el("canvas", "", {
        width: Math.ceil(bitmap.width * scale), height: Math.ceil(bitmap.height * scale),
      });
      canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/webp", 0.95));
      if (blob && blob.size <= MAX_UPLOAD) return blob;
      if (canvas.width < 512) return file.slice(0, 1000);
    }
  } catch {
    return file.slice(0, 1000); // enough for the kernel to reject it
  }
}

function imageControl(field, slot, label, wire) {
  const file = el("input", "fnb-panel-file", { type: "file", accept: "image/*", "aria-label": label });
  const image = el("img", "", { alt: `${label}: chosen image` });
  const words = el("span", "fnb-panel-dim");
  const isMask = slot.endsWith(".mask");
  const what = isMask ? "its mask (white is painted)" : "an image";
  words.textContent = `Drop ${what} here, or choose one`;
  const zone = wrap("label", "fnb-panel-drop", {}, file, image, words);
  const remove = button("fnb-panel-small", "Remove");
  let url = null;
  async function take(picked) {
    if (picked) wire.command({ kind: "image", slot }, [await (await uploadable(picked)).arrayBuffer()]);
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
  remove.addEventListener("click", () => wire.command({ kind: "remove", slot }));
  const paint = button("fnb-panel-small", "Paint it", "Paint the mask over the image, below the form");
  paint.addEventListener("click", () => wire.command({ kind: "paint", slot }));
  const tools = wrap("div", "fnb-panel-tools", {}, ...(isMask ? [paint] : []), remove);
  return {
    node: wrap("div", "fnb-panel-image", {}, zone, tools),
    target: file,
    state(state) {
      const open = isMask && `${state.painting}.mask` === slot;
      paint.textContent = open ? "Done painting" : "Paint it";
      paint.setAttribute("aria-pressed", String(open));
    },
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

function makePreset(form, wire) {
  const node = el("label", "fnb-panel-only", {}, "Preset");
  const choice = el("select", "fnb-panel-text");
  choice.append(...form.presets.map((name) => el("option", "", { value: name }, name)));
  choice.value = form.preset;
  choice.addEventListener("change", () => wire.command({ kind: "preset", name: choice.value }));
  node.append(choice);
  node.hidden = !form.presets.length;
  return node;
}

// ---- a field: label, hint, reset, control, error ----

function makeField(name, field, wire) {
  const change = (value, now) => wire.change(name, value, now);
  const isImage = field.kind === "image" || field.kind === "mask image";
  const images = [];
  let control;
  if (isImage) {
    images.push([name, imageControl(field, name, field.label, wire)]);
    if (field.kind === "mask image") {
      images.push([`${name}.mask`, imageControl(field, `${name}.mask`, `${field.label}: its mask`, wire)]);
    }
    const about = images.length > 1 ? { role: "group", "aria-label": field.label } : {};
    const row = wrap("div", "fnb-panel-row", about, ...images.map(([, item]) => item.node));
    const state = (now) => images.forEach(([, item]) => item.state(now));
    control = { node: row, target: images[0][1].target, set() {}, state };
  } else {
    control = (CONTROLS[field.kind] || otherControl)(field, change, field.label);
  }
  const label = el(control.target ? "label" : "span", "fnb-panel-label");
  label.textContent = field.label;
  label.title = field.words;
  const hint = el("span", "fnb-panel-dim");
  hint.textContent = field.hint;
  const reset = button("fnb-panel-bare fnb-panel-reset", "Reset", `Reset ${field.label}`);
  const error = el("div", "fnb-panel-error", { role: "alert", id: newId() });
  if (control.target) {
    control.target.id = newId();
    label.setAttribute("for", control.target.id);
    control.target.setAttribute("aria-describedby", error.id);
  }
  const head = wrap("div", "fnb-panel-head", {}, label, hint, reset);
  if (control.inline) head.prepend(control.node);
  const node = wrap("div", "fnb-panel-field", { "data-name": name }, head);
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
    name, field, node, words, images,
    changed: false,
    draw(values, errors) {
      const text = errors[name] || "";
      if (error.textContent !== text) error.textContent = text;
      if (text) control.target?.setAttribute("aria-invalid", "true");
      else control.target?.removeAttribute("aria-invalid");
      this.changed = name in values;
      reset.hidden = !this.changed && !text;
      node.classList.toggle("fnb-panel-set", this.changed);
      // A value that is being typed, or is wrong, stays as it is.
      if (!text && !wire.busy(name)) control.set(name in values ? values[name] : field.default);
    },
    state: (state) => control.state?.(state),
  };
}
