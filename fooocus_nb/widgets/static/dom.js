// Shared by the widgets. Text is only ever set with textContent: nothing is parsed as HTML.

function el(tag, className = "", attributes = {}, text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return node;
}

function button(className, text, label = "") {
  const node = el("button", `fnb-button ${className}`.trim(), { type: "button" }, text);
  if (label) node.title = label;
  if (label && text.length < 2) node.setAttribute("aria-label", label); // a symbol is not a name
  return node;
}

// Pages served over plain HTTP have no clipboard API: there a selection is copied.
async function copyText(text, host) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = el("textarea", "fnb-copy-field", { "aria-hidden": "true", tabindex: "-1" });
    field.value = text;
    const focused = document.activeElement;
    host.append(field);
    field.select();
    let copied = false;
    try {
      copied = document.execCommand("copy");
    } catch {
      copied = false;
    }
    field.remove();
    focused?.focus?.({ preventScroll: true });
    return copied;
  }
}

function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = el("a", "", { download: name, href: url, hidden: "" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function debounced(work, milliseconds) {
  let timer = 0;
  const run = (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
  run.cancel = () => clearTimeout(timer);
  return run;
}

// Runs `work` once before the next frame, however often it is asked for.
function framed(work) {
  let asked = 0;
  const ask = () => {
    if (!asked) {
      asked = requestAnimationFrame(() => {
        asked = 0;
        work();
      });
    }
  };
  ask.cancel = () => {
    cancelAnimationFrame(asked);
    asked = 0;
  };
  return ask;
}

// Calls `move` for each move of a pointer that was pressed on a node, until it is released.
function followPointer(node, { pointerId }, move, drop = () => {}) {
  const ended = new AbortController();
  const { signal } = ended;
  const end = () => {
    ended.abort();
    drop();
  };
  node.setPointerCapture(pointerId);
  node.addEventListener("pointermove", move, { signal });
  node.addEventListener("pointerup", end, { signal });
  node.addEventListener("pointercancel", end, { signal });
}

// Arranges keyed nodes in a parent in this order, and removes all others.
function arrangeNodes(parent, nodes, keys) {
  const wanted = new Set(keys);
  for (const [key, node] of nodes) {
    if (!wanted.has(key)) {
      node.remove();
      nodes.delete(key);
    }
  }
  let next = parent.firstChild;
  for (const key of keys) {
    const node = nodes.get(key);
    if (node === next) next = node.nextSibling;
    else parent.insertBefore(node, next);
  }
}

function viewerId() {
  const numbers = crypto.getRandomValues(new Uint32Array(2));
  return Array.from(numbers, (number) => number.toString(36)).join("");
}
