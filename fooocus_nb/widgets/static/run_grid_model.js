// A run as a grid: what is where, what passes a filter, and what is on the screen. Pure functions.

const ROLES = ["x", "y", "z"];
const MIN_TILE = 40;
const MAX_TILE = 640;
const THUMBNAIL_SIDES = [160, 320, 640, 1280];

// The axes that have no role: their values are side by side at each place, or one of them is chosen.
function restAxes(axes, roles) {
  const used = new Set(ROLES.map((role) => roles[role]));
  return axes.map((_, index) => index).filter((index) => !used.has(index));
}

// Gives an axis a role. Where it has one already, both change places, so that no axis is lost.
function withRole(roles, role, axis) {
  const next = { ...roles };
  const other = axis < 0 ? undefined : ROLES.find((name) => name !== role && roles[name] === axis);
  if (other) next[other] = roles[role];
  next[role] = axis;
  return next;
}

// Returns what is where: {blocks, rows, columns} as indexes of their axes (or [-1] where there is no
// such axis), the cells at each place, and how many there are at the fullest one.
// `chosen` holds one value of axes without a role; `passes` says which cells are shown.
function arranged(cells, axes, roles, chosen = {}, passes = () => true) {
  const places = new Map();
  const used = { x: new Set(), y: new Set(), z: new Set() };
  const rest = restAxes(axes, roles);
  let shown = 0;
  let perPlace = 1;
  for (const cell of cells) {
    if (rest.some((axis) => chosen[axis] !== undefined && cell.at[axis] !== chosen[axis])) continue;
    if (!passes(cell)) continue;
    const [z, y, x] = [roles.z, roles.y, roles.x].map((axis) => (axis < 0 ? -1 : cell.at[axis]));
    used.x.add(x);
    used.y.add(y);
    used.z.add(z);
    const key = `${z},${y},${x}`;
    const place = places.get(key);
    if (place) place.push(cell);
    else places.set(key, [cell]);
    shown += 1;
  }
  for (const place of places.values()) {
    if (place.length > 1) place.sort((a, b) => byAxes(a, b, rest));
    perPlace = Math.max(perPlace, place.length);
  }
  const sorted = (set) => [...set].sort((a, b) => a - b);
  return {
    blocks: sorted(used.z), rows: sorted(used.y), columns: sorted(used.x),
    places, perPlace, shown, rest: rest.filter((axis) => chosen[axis] === undefined),
    flow: roles.y < 0 && roles.z < 0,
  };
}

function byAxes(a, b, axes) {
  for (const axis of axes) {
    if (a.at[axis] !== b.at[axis]) return a.at[axis] - b.at[axis];
  }
  return a.number - b.number;
}

// What is below an image: the values that its place does not tell.
function captionOf(cell, axes, roles, layout, tile) {
  const words = [];
  if (layout.flow && roles.x >= 0) words.push(axes[roles.x].shorts[cell.at[roles.x]]);
  // Where there is no space for its name, one value stands alone: the name is above the grid.
  const alone = tile < 110 && !words.length && layout.rest.length === 1 && axes[layout.rest[0]].name !== "image";
  for (const axis of layout.rest) {
    const value = axes[axis].shorts[cell.at[axis]];
    words.push(alone ? value : `${axes[axis].label} ${value}`);
  }
  return words.join(" \u00b7 ");
}

// All values of a cell, in the order of the axes.
function valuesOf(cell, axes) {
  return axes.map((axis, index) => [axis.label, axis.texts[cell.at[index]] ?? ""]);
}

// The size of every part, from the size of an image. `text` holds the sizes of the labels.
function geometry(layout, { width, tile, ratio, text }) {
  const inner = Math.max(Math.round(tile / 64), 2);
  // What belongs to one place stands closer together than the places.
  const gap = Math.max(Math.round(tile / 32), 4) + (layout.perPlace > 1 ? 8 : 0);
  const high = Math.max(Math.round(tile / ratio), 1);
  const caption = layout.flow || layout.perPlace > 1 ? text.caption : 0;
  if (layout.flow) return flowGeometry(layout, { width, tile, high, gap: 8, caption });
  const perRow = layout.perPlace <= 3 ? layout.perPlace : Math.ceil(Math.sqrt(layout.perPlace));
  const down = Math.ceil(layout.perPlace / perRow);
  const place = {
    width: perRow * (tile + inner) - inner,
    height: down * (high + caption + inner) - inner,
  };
  const head = { gutter: text.gutter, columns: text.columns, heading: text.heading };
  const block = {
    width: head.gutter + layout.columns.length * (place.width + gap),
    height: head.heading + head.columns + layout.rows.length * (place.height + gap),
  };
  const space = 18;
  const across = Math.max(Math.floor((width + space) / (block.width + space)), 1);
  const lines = Math.ceil(layout.blocks.length / across);
  return {
    gap, inner, tile, high, caption, perRow, place, head, block, space, across,
    width: Math.min(across, Math.max(layout.blocks.length, 1)) * (block.width + space) - space,
    height: lines * (block.height + space) - (lines ? space : 0),
  };
}

function flowGeometry(layout, { width, tile, high, gap, caption }) {
  const across = Math.max(Math.floor((width + gap) / (tile + gap)), 1);
  const lines = Math.ceil(layout.shown / across);
  return {
    flow: true, gap, inner: gap, tile, high, caption, across,
    width: across * (tile + gap) - gap, height: lines * (high + caption + gap),
  };
}

// The largest image at which all columns are seen, as long as it is of a useful size.
function fittingTile(layout, { width, ratio, text }) {
  if (layout.flow) {
    const usual = layout.shown < 5 ? 240 : 160;
    const across = Math.max(Math.floor((width + 8) / (usual + 8)), 1);
    return layout.shown < across ? usual : Math.floor((width + 8) / across) - 8;
  }
  const perRow = layout.perPlace <= 3 ? layout.perPlace : Math.ceil(Math.sqrt(layout.perPlace));
  const across = layout.columns.length * perRow;
  const gap = layout.perPlace > 1 ? 16 : 8;
  const spare = width - text.gutter - layout.columns.length * gap - (across - layout.columns.length) * 4;
  const widest = Math.round(236 * Math.min(Math.max(Math.sqrt(ratio), 0.7), 1.4));
  return Math.min(Math.max(Math.floor(spare / Math.max(across, 1)), 64), widest);
}

// Where everything is that may be seen through a window: blocks with ranges of rows and columns.
function visibleBlocks(layout, sizes, view) {
  const found = [];
  const { block, space, across, head, place, gap } = sizes;
  layout.blocks.forEach((index, number) => {
    const x = (number % across) * (block.width + space);
    const y = Math.floor(number / across) * (block.height + space);
    if (x > view.right || x + block.width < view.left || y > view.bottom || y + block.height < view.top) return;
    const left = x + head.gutter;
    const top = y + head.heading + head.columns;
    const range = (low, high, start, size, count) => [
      Math.max(Math.floor((low - start) / size), 0),
      Math.min(Math.max(Math.ceil((high - start) / size), 0), count),
    ];
    found.push({
      index, number, x, y,
      columns: range(view.left, view.right, left, place.width + gap, layout.columns.length),
      rows: range(view.top, view.bottom, top, place.height + gap, layout.rows.length),
    });
  });
  return found;
}

// Where one image is: its left upper corner.
function positionOf(spot, sizes) {
  if (sizes.flow) {
    return {
      x: (spot.index % sizes.across) * (sizes.tile + sizes.gap),
      y: Math.floor(spot.index / sizes.across) * (sizes.high + sizes.caption + sizes.gap),
    };
  }
  const { block, space, across, head, place, gap, tile, high, caption, inner, perRow } = sizes;
  return {
    x: (spot.block % across) * (block.width + space) + head.gutter
      + spot.column * (place.width + gap) + (spot.n % perRow) * (tile + inner),
    y: Math.floor(spot.block / across) * (block.height + space) + head.heading + head.columns
      + spot.row * (place.height + gap) + Math.floor(spot.n / perRow) * (high + caption + inner),
  };
}

// All cells in reading order, each with its spot: the order in which keys go through them.
function spotsOf(layout) {
  const spots = [];
  layout.blocks.forEach((z, block) => {
    layout.rows.forEach((y, row) => {
      layout.columns.forEach((x, column) => {
        const cells = layout.places.get(`${z},${y},${x}`) || [];
        cells.forEach((cell, n) => spots.push({ cell, block, row, column, n, index: spots.length }));
      });
    });
  });
  return spots;
}

// The spot that a key leads to; the same one where there is none in that direction.
function neighbour(spots, sizes, active, key, page) {
  const last = spots.length - 1;
  const steps = { ArrowLeft: -1, ArrowRight: 1 };
  if (key in steps) return Math.min(Math.max(active + steps[key], 0), last);
  if (key === "Home") return 0;
  if (key === "End") return last;
  const way = key === "ArrowUp" || key === "PageUp" ? -1 : 1;
  const far = key.startsWith("Page") ? page : 0;
  const from = positionOf(spots[active], sizes);
  let best = active;
  let found = null;
  spots.forEach((spot, index) => {
    const at = positionOf(spot, sizes);
    const dy = (at.y - from.y) * way;
    if (dy <= 0) return;
    const score = [Math.abs(dy - Math.max(far, 1)) , Math.abs(at.x - from.x)];
    if (!found || score[0] < found[0] || (score[0] === found[0] && score[1] < found[1])) {
      found = score;
      best = index;
    }
  });
  return best;
}

// The side of the thumbnail that is sharp at this size and zoom.
function thumbnailSide(tile, zoom, density = 1) {
  const wanted = tile * zoom * density;
  return THUMBNAIL_SIDES.find((side) => side >= wanted * 0.9) ?? THUMBNAIL_SIDES.at(-1);
}

// Zoom of all images together: `x` and `y` are shifts in parts of an image's own size.
const NO_ZOOM = Object.freeze({ scale: 1, x: 0, y: 0 });

// Enlarges around a point of an image, given in parts of its size from its middle.
function zoomedBy(zoom, factor, px = 0, py = 0) {
  const scale = Math.min(Math.max(zoom.scale * factor, 1), 24);
  const ratio = scale / zoom.scale;
  return bounded({ scale, x: px - (px - zoom.x) * ratio, y: py - (py - zoom.y) * ratio });
}

function movedBy(zoom, dx, dy) {
  return bounded({ ...zoom, x: zoom.x + dx, y: zoom.y + dy });
}

function bounded({ scale, x, y }) {
  const limit = (scale - 1) / 2;
  const within = (value) => Math.min(Math.max(value, -limit), limit) || 0; // and never -0
  return { scale, x: within(x), y: within(y) };
}

const KEYS = {
  Enter: "open", " ": "mark", c: "compare", n: "note", v: "vary", u: "upscale", s: "settings",
  "+": "enlarge", "=": "enlarge", "-": "shrink", f: "fit", "/": "filter", x: "swap",
  Backspace: "unrate", Delete: "unrate", "?": "help", Escape: "escape",
};

// What a key does in the grid: chords belong to the browser and to the notebook.
function gridAction({ key, ctrlKey, metaKey, altKey }) {
  if (ctrlKey || metaKey || altKey) return "";
  if (/^[0-5]$/.test(key)) return `rate${key}`;
  if (key.startsWith("Arrow") || ["Home", "End", "PageUp", "PageDown"].includes(key)) return "move";
  const name = key.length === 1 ? key.toLowerCase() : key;
  return Object.hasOwn(KEYS, name) ? KEYS[name] : "";
}

// The same rating once more takes it away.
function newRating(before, given) {
  return before === given ? null : given;
}

function starsOf(rating) {
  if (rating === null || rating === undefined) return "";
  return rating === 0 ? "\u2715" : "\u2605".repeat(rating);
}

// Words, each of which must be found. "name:word" looks into one value, "rating>=3" compares,
// "is:failed", "is:missing", "is:unrated", "is:noted" ask for a state. What has no value, or a
// measure that is no number, is never found by a comparison.
function parseGridFilter(text, axes) {
  const tests = [];
  const pattern = /(?:([\p{L}_][\w.]*)(>=|<=|[:=<>])(?:"([^"]*)"|(\S+)))|(?:"([^"]*)"|(\S+))/gu;
  for (const [, field, operator, quoted, plain, phrase, word] of text.matchAll(pattern)) {
    if (field) tests.push(fieldTest(field.toLowerCase(), operator, quoted ?? plain, axes));
    else tests.push(wordTest((phrase ?? word).toLowerCase(), axes));
  }
  return (cell) => tests.every((test) => test(cell));
}

function wordTest(wanted, axes) {
  return (cell) => cellText(cell, axes).includes(wanted);
}

function cellText(cell, axes) {
  const values = axes.map((axis, index) => axis.texts[cell.at[index]] ?? "");
  return [...values, cell.key, cell.seed, cell.note, cell.state === "made" ? "" : cell.reason]
    .filter(Boolean).join("\n").toLowerCase();
}

const STATES = {
  rated: (cell) => cell.rating !== null && cell.rating !== undefined,
  unrated: (cell) => cell.state === "made" && (cell.rating === null || cell.rating === undefined),
  noted: (cell) => Boolean(cell.note),
};

function fieldTest(field, operator, wanted, axes) {
  const word = wanted.toLowerCase();
  if (field === "is") return STATES[word] ?? ((cell) => cell.state === word);
  const axis = axes.findIndex((one) => one.name.toLowerCase() === field || one.label.toLowerCase() === field);
  const value = (cell) => {
    if (axis >= 0) return axes[axis].texts[cell.at[axis]] ?? "";
    if (field === "rating" || field === "note" || field === "key") return cell[field] ?? "";
    if (field === "seed" || field === "image_seed") return cell.seed ?? "";
    const measure = Object.keys(cell.measures || {}).find((name) => name.toLowerCase() === field);
    return measure === undefined ? "" : cell.measures[measure] ?? "";
  };
  if (operator === ":") return (cell) => String(value(cell)).toLowerCase().includes(word);
  if (operator === "=") {
    return (cell) => {
      const found = String(value(cell)).toLowerCase();
      return found === word || (found !== "" && compared(found, word) === 0);
    };
  }
  return (cell) => {
    const order = compared(String(value(cell)), word);
    if (order === null) return false;
    return { ">": order > 0, "<": order < 0, ">=": order >= 0, "<=": order <= 0 }[operator];
  };
}

// Whole numbers are compared as such, since seeds exceed what a number holds; null for no numbers.
function compared(a, b) {
  if (/^-?\d+$/.test(a) && /^-?\d+$/.test(b)) {
    const [x, y] = [BigInt(a), BigInt(b)];
    return x < y ? -1 : x > y ? 1 : 0;
  }
  const [x, y] = [Number(a), Number(b)];
  if (a.trim() === "" || b.trim() === "" || !Number.isFinite(x) || !Number.isFinite(y)) return null;
  return x - y;
}

// The keys that two cells differ in, for a comparison.
function differing(rows, others) {
  const [one, other] = [new Map(rows), new Map(others)];
  return [...new Set([...one.keys(), ...other.keys()])]
    .filter((name) => one.get(name) !== other.get(name))
    .map((name) => [name, one.get(name) ?? "", other.get(name) ?? ""]);
}
