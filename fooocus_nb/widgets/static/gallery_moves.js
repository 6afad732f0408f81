// Selection and keys of the gallery, as pure functions.

// The row of a card, and so its place in a column, depends on how many columns fit.
// Returns the index to move to, -1 where there is none, and null for keys that move nothing.
function gridTarget(key, { active, count, columns, page }) {
  const moves = {
    ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns,
    PageUp: -page, PageDown: page, Home: -active, End: count - 1 - active,
  };
  if (!Object.hasOwn(moves, key)) return null;
  const to = active + moves[key];
  if (to >= 0 && to < count) return to;
  if (!key.startsWith("Page")) return -1;
  return to < 0 ? 0 : count - 1;
}

// Selecting keeps the order; selecting again takes the card out.
function toggled(selected, id) {
  const kept = selected.filter((other) => other !== id);
  return kept.length === selected.length ? [...kept, id] : kept;
}

// Adds the cards from one index to another, in either direction.
function withRange(selected, cards, from, to) {
  const [low, high] = [Math.min(from, to), Math.max(from, to)];
  const range = cards.slice(low, high + 1).map((card) => card.id);
  return [...new Set([...selected, ...range])];
}

const BOX_KEYS = {
  ArrowLeft: "previous", ArrowRight: "next", Home: "first", End: "last",
  "+": "enlarge", "=": "enlarge", "-": "shrink", 0: "fit", 1: "actual",
  c: "copy", d: "download", " ": "select",
};

// What a key does in the open image. Chords such as Ctrl+C and Ctrl+D belong to the browser, and
// Space on a button presses that.
function boxAction({ key, ctrlKey, metaKey, altKey }, onButton) {
  if (ctrlKey || metaKey || altKey || (key === " " && onButton)) return "";
  return Object.hasOwn(BOX_KEYS, key) ? BOX_KEYS[key] : "";
}
