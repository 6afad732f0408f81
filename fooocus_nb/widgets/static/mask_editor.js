// Paints a mask over an image. After each stroke the mask is sent to the kernel as a PNG, in its
// alpha channel. All text is set with textContent: nothing is ever parsed.

const MAX_FIT_HEIGHT = 560;
const LEAST_SIDE = 240;
const MAX_FIT = 8;
const ZOOM_STEP = 1.5;
const MAX_ZOOM = 16;
const TINT = "rgb(255, 45, 85)";
const KEYS = {
  b: "brush", e: "eraser", i: "invert", f: "fill", Delete: "clear", Backspace: "clear",
  "[": "smaller", "]": "larger", "+": "in", "=": "in", "-": "out", 0: "fit",
};
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function tool(parent, text, hint, act) {
  const node = el("button", "fnb-mask-button", { type: "button", title: hint }, text);
  node.addEventListener("click", act);
  parent.append(node);
  return node;
}

// The name of this page's copy of the model: the kernel passes on what other pages paint.
const pages = new WeakMap();
function pageOf(model) {
  if (!pages.has(model)) pages.set(model, Math.random().toString(36).slice(2));
  return pages.get(model);
}

function bytesOf(value) {
  if (!value || !value.byteLength) return null;
  return value instanceof ArrayBuffer
    ? new Uint8Array(value)
    : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

// The mask's pixels, and the operations on them.
class Mask {
  constructor(canvas, width, height) {
    canvas.width = width;
    canvas.height = height;
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
  }
  stroke(points, size, erase) {
    const context = this.context;
    context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    context.strokeStyle = context.fillStyle = TINT;
    context.lineWidth = size;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    const [first, ...rest] = points;
    if (rest.length === 0) {
      context.arc(first[0], first[1], size / 2, 0, 2 * Math.PI);
      context.fill();
    } else {
      context.moveTo(...first);
      for (const point of rest) context.lineTo(...point);
      context.stroke();
    }
    context.globalCompositeOperation = "source-over";
  }
  clear() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }
  fill() {
    this.context.fillStyle = TINT;
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }
  invert() {
    this.context.globalCompositeOperation = "source-out";
    this.fill();
    this.context.globalCompositeOperation = "source-over";
  }
  // Makes the soft edges of strokes hard, as the mask is seen and used.
  harden() {
    const { width, height } = this.canvas;
    const pixels = this.context.getImageData(0, 0, width, height);
    let painted = 0;
    for (let at = 3; at < pixels.data.length; at += 4) {
      const on = pixels.data[at] > 127;
      pixels.data[at] = on ? 255 : 0;
      painted += on;
    }
    this.context.putImageData(pixels, 0, 0);
    this.share = painted / (width * height);
    return pixels;
  }
  // Returns the mask at this moment, as a promise of a PNG.
  read() {
    const pixels = this.harden();
    if (!this.share) return Promise.resolve(null);
    const copy = document.createElement("canvas");
    copy.width = pixels.width;
    copy.height = pixels.height;
    copy.getContext("2d").putImageData(pixels, 0, 0);
    return new Promise((done) => copy.toBlob(done, "image/png"))
      .then((blob) => blob.arrayBuffer())
      .then((buffer) => new Uint8Array(buffer));
  }
  async write(png) {
    const bitmap = png && (await createImageBitmap(new Blob([png], { type: "image/png" })));
    this.clear();
    if (bitmap) {
      this.context.drawImage(bitmap, 0, 0);
      this.context.globalCompositeOperation = "source-in";
      this.fill();
      this.context.globalCompositeOperation = "source-over";
    }
  }
}

function render({ model, el: host }) {
  const width = model.get("width");
  const height = model.get("height");
  const root = el("div", "fnb-mask", { role: "group", "aria-label": "Mask editor" });
  const bar = el("div", "fnb-mask-bar", { role: "toolbar", "aria-label": "Mask tools" });
  const stage = el("div", "fnb-mask-stage");
  const sheet = el("div", "fnb-mask-sheet");
  const background = el("img", "fnb-mask-image", { alt: "The image", draggable: "false" });
  const canvas = el("canvas", "fnb-mask-canvas", {
    tabindex: "0", role: "application", "aria-roledescription": "mask",
    "aria-label": "Mask over the image. Arrow keys move the brush, space starts and ends a stroke.",
  });
  const ring = el("div", "fnb-mask-ring", { "aria-hidden": "true" });
  const status = el("div", "fnb-mask-status", { role: "status" });
  sheet.append(background, canvas, ring);
  stage.append(sheet);
  root.append(bar, stage, status);
  host.append(root);

  const mask = new Mask(canvas, width, height);
  let erasing = false;
  let zoom = 0; // 0 fits the image into the page
  let scale = 1;
  const history = new MaskHistory();
  let queue = Promise.resolve(); // changes run one by one, each with a step of its own

  // -- tools --------------------------------------------------------------------------------

  const acts = {
    brush: () => setErasing(false),
    eraser: () => setErasing(true),
    undo: () => travel(-1),
    redo: () => travel(1),
    invert: () => { mask.invert(); commit(); },
    fill: () => { mask.fill(); commit(); },
    clear: () => { mask.clear(); commit(); },
    smaller: () => setBrush(Math.min(model.get("brush") - 1, Math.round(model.get("brush") / 1.2))),
    larger: () => setBrush(Math.max(model.get("brush") + 1, Math.round(model.get("brush") * 1.2))),
    in: () => setZoom(scale * ZOOM_STEP),
    out: () => setZoom(scale / ZOOM_STEP),
    fit: () => setZoom(0),
  };
  function group(label) {
    const node = el("div", "fnb-mask-group", { role: "group", "aria-label": label });
    bar.append(node);
    return node;
  }
  const tools = group("Tool");
  const brush = tool(tools, "Brush", "Paint (B)", acts.brush);
  const eraser = tool(tools, "Eraser", "Erase paint (E)", acts.eraser);
  const sizes = el("label", "fnb-mask-size");
  const sizeName = el("span", "");
  sizeName.textContent = "Size";
  const size = el("input", "", {
    type: "range", min: "1", max: String(largest()), "aria-label": "Brush size in pixels",
    title: "Brush size ([ and ])",
  });
  const sizeText = el("span", "fnb-mask-number");
  sizes.append(sizeName, size, sizeText);
  bar.append(sizes);
  const steps = group("History");
  const undo = tool(steps, "Undo", "Undo (Ctrl+Z)", acts.undo);
  const redo = tool(steps, "Redo", "Redo (Ctrl+Shift+Z)", acts.redo);
  const whole = group("Whole mask");
  tool(whole, "Invert", "Swap painted and unpainted (I)", acts.invert);
  tool(whole, "Fill", "Paint everything (F)", acts.fill);
  tool(whole, "Clear", "Erase all paint (Delete)", acts.clear);
  const zooms = group("Zoom");
  tool(zooms, "−", "Smaller (-)", acts.out).setAttribute("aria-label", "Zoom out");
  tool(zooms, "Fit", "Fit the page (0)", acts.fit);
  tool(zooms, "+", "Larger (+)", acts.in).setAttribute("aria-label", "Zoom in");
  size.addEventListener("input", () => setBrush(Number(size.value)));

  function largest() {
    return Math.max(2, Math.round(Math.min(width, height) / 2));
  }
  function setErasing(value) {
    erasing = value;
    brush.setAttribute("aria-pressed", String(!erasing));
    eraser.setAttribute("aria-pressed", String(erasing));
    ring.classList.toggle("fnb-mask-erasing", erasing);
  }
  // By messages of our own: save_changes() waits for the kernel to say that it has taken the last
  // one, which ipykernel does not say while a cell awaits; then nothing would be sent any more.
  function setBrush(value) {
    const brush = Math.max(1, Math.min(largest(), value));
    model.set("brush", brush);
    model.send({ kind: "brush", value: brush });
  }
  function drawBrush() {
    size.value = String(model.get("brush"));
    sizeText.textContent = `${model.get("brush")} px`;
    placeRing();
  }

  // -- history ------------------------------------------------------------------------------

  function drawStatus() {
    undo.disabled = !history.canUndo;
    redo.disabled = !history.canRedo;
    const share = 100 * (mask.share || 0);
    const amount = share === 0 ? "Nothing is" : `${share < 1 ? "Less than 1" : Math.round(share)} % of the image is`;
    status.textContent = `${amount} painted  ·  ${width} × ${height}`;
  }
  function send(png) {
    const bytes = png || new Uint8Array();
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    model.set("mask_png", new DataView(buffer));
    model.send({ kind: "mask", page: pageOf(model) }, undefined, [buffer]);
  }
  function then(act) {
    queue = queue.then(act).catch((error) => console.error("mask editor", error));
  }
  function commit() {
    const reading = mask.read();
    then(async () => {
      const png = await reading;
      history.add(png);
      drawStatus();
      send(png);
    });
  }
  function travel(step) {
    then(async () => {
      if (!history.move(step)) return;
      await restore(history.current);
      send(history.current);
    });
  }
  // The kernel, or another view of the same editor, has changed the mask.
  function receive() {
    then(async () => {
      const png = bytesOf(model.get("mask_png"));
      if (sameBytes(png, history.current)) return;
      history.add(png);
      await restore(png);
    });
  }
  function onMessage(message, buffers) {
    if (message.kind !== "mask" || message.page === pageOf(model)) return;
    model.set("mask_png", buffers?.[0] || new DataView(new ArrayBuffer(0)));
  }
  async function restore(png) {
    await mask.write(png);
    mask.harden();
    drawStatus();
  }

  // -- the pointer: mouse, pen or finger ----------------------------------------------------

  let last = null; // where the stroke is; null while nothing paints
  let at = [width / 2, height / 2];

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) * width) / box.width,
      ((event.clientY - box.top) * height) / box.height,
    ];
  }
  function placeRing() {
    const across = model.get("brush") * scale;
    ring.style.width = ring.style.height = `${across}px`;
    ring.style.left = `${at[0] * scale - across / 2}px`;
    ring.style.top = `${at[1] * scale - across / 2}px`;
  }
  function paint(points) {
    mask.stroke(last ? [last, ...points] : points, model.get("brush"), erasing);
    last = points[points.length - 1];
  }
  function end() {
    if (last === null) return;
    last = null;
    ring.classList.remove("fnb-mask-down");
    commit();
  }
  let pointer = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    end(); // a stroke of the keyboard
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer);
    at = place(event);
    placeRing();
    paint([at]);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (pointer === null || event.pointerId === pointer) {
      at = place(event);
      placeRing();
    }
    if (event.pointerId !== pointer) return;
    const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    paint((events.length ? events : [event]).map(place));
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => {
      if (event.pointerId !== pointer) return;
      pointer = null;
      end();
    });
  }
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());

  // -- the keyboard -------------------------------------------------------------------------

  root.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey) {
      const key = event.key.toLowerCase();
      const act = key === "y" || (key === "z" && event.shiftKey) ? "redo" : key === "z" ? "undo" : null;
      if (!act) return;
      end();
      acts[act]();
    } else if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    } else if (event.target === canvas && event.key in MOVES) {
      move(MOVES[event.key], event.shiftKey);
    } else if (event.target === canvas && (event.key === " " || event.key === "Enter")) {
      if (event.repeat) return;
      if (last) end();
      else {
        ring.classList.add("fnb-mask-down");
        paint([at]);
      }
    } else if (event.target !== size && event.key in KEYS) {
      acts[KEYS[event.key]]();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });
  canvas.addEventListener("blur", () => pointer === null && end());

  function move([x, y], far) {
    const step = far ? model.get("brush") : Math.max(1, Math.round(model.get("brush") / 4));
    at = [
      Math.max(0, Math.min(width, at[0] + x * step)),
      Math.max(0, Math.min(height, at[1] + y * step)),
    ];
    placeRing();
    ring.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (last) paint([at]);
  }

  // -- zoom ---------------------------------------------------------------------------------

  function fitting() {
    const room = Math.max(1, stage.clientWidth);
    const larger = Math.max(1, Math.min(MAX_FIT, LEAST_SIDE / Math.min(width, height)));
    return Math.min(room / width, MAX_FIT_HEIGHT / height, larger);
  }
  function setZoom(value) {
    zoom = value && Math.max(0.05, Math.min(MAX_ZOOM, value));
    resize();
  }
  function resize() {
    scale = zoom || fitting();
    sheet.style.width = `${width * scale}px`;
    sheet.style.height = `${height * scale}px`;
    sheet.classList.toggle("fnb-mask-pixels", scale >= 3);
    placeRing();
  }
  const observer = new ResizeObserver(() => zoom || resize());
  observer.observe(stage);
  stage.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      setZoom(scale * (event.deltaY < 0 ? ZOOM_STEP : 1 / ZOOM_STEP));
    },
    { passive: false },
  );

  let url = null;
  function drawBackground() {
    if (url) URL.revokeObjectURL(url);
    const bytes = bytesOf(model.get("background"));
    url = bytes ? URL.createObjectURL(new Blob([bytes], { type: "image/webp" })) : null;
    if (url) background.src = url;
  }

  model.on("change:brush", drawBrush);
  model.on("change:mask_png", receive);
  model.on("change:background", drawBackground);
  model.on("msg:custom", onMessage);
  // Keys must not reach the notebook's shortcuts: its "b" makes a new cell. Lumino looks for the
  // attribute at the focused element first, so each element needs it.
  for (const node of root.querySelectorAll("button, input, canvas")) {
    node.setAttribute("data-lm-suppress-shortcuts", "true");
  }
  setErasing(false);
  drawBackground();
  resize();
  drawBrush();
  receive();
  drawStatus();
  return () => {
    observer.disconnect();
    if (url) URL.revokeObjectURL(url);
    model.off("change:brush", drawBrush);
    model.off("change:mask_png", receive);
    model.off("change:background", drawBackground);
    model.off("msg:custom", onMessage);
  };
}

export default { render: watched(render) };
