// Sorting and filtering cards by the text on them.

const SORTS = [
  ["order", "Order"], ["date", "Date"], ["name", "File name"], ["seed", "Seed"],
  ["size", "Size"], ["prompt", "Prompt"],
];
// Short names for parameters.
const SHORT = {
  style: "style_selections", styles: "style_selections", model: "base_model",
  performance: "performance_selection", steps: "overwrite_step", sampler: "sampler_name",
  scheduler: "scheduler_name", negative: "negative_prompt", cfg: "guidance_scale", vae: "vae_name",
};

function cardValue(card, key) {
  if (key === "order") return String(card.id);
  if (key === "date") return card.date ? String(card.date) : "";
  if (key === "name") return card.name || "";
  if (key === "seed") return card.seed || "";
  if (key === "size") return card.width ? String(card.width * card.height) : "";
  if (key === "prompt") return card.prompt || "";
  if (key === "width" || key === "height") return String(card[key] ?? "");
  const row = (card.rows || []).find(([name]) => name === key);
  return row ? row[1] : "";
}

function dateText(card) {
  return card.date ? new Date(card.date * 1000).toLocaleString() : "";
}

function sizeText(card) {
  return card.width ? `${card.width} \u00d7 ${card.height}` : "";
}

// Seeds that follow each other differ at their end.
function seedText(card) {
  const { seed } = card;
  return seed.length > 14 ? `${seed.slice(0, 6)}\u2026${seed.slice(-5)}` : seed;
}

// Seeds exceed what a number holds, so whole numbers are compared as text.
function compareValues(a, b) {
  if (a === b) return 0;
  if (!a) return 1;
  if (!b) return -1;
  const digits = /^\d+$/;
  if (digits.test(a) && digits.test(b)) {
    const [x, y] = [BigInt(a), BigInt(b)];
    return x < y ? -1 : x > y ? 1 : 0;
  }
  const [x, y] = [Number(a), Number(b)];
  if (Number.isFinite(x) && Number.isFinite(y)) return x - y;
  return a.localeCompare(b, undefined, { numeric: true, sensitivity: "base" });
}

function sortedCards(cards, key, descending) {
  const keyed = cards.map((card) => [cardValue(card, key), card]);
  keyed.sort(([a, one], [b, other]) => {
    if (!a || !b) return compareValues(a, b) || one.id - other.id; // unknown values come last
    const order = compareValues(a, b) || one.id - other.id;
    return descending ? -order : order;
  });
  return keyed.map(([, card]) => card);
}

// Words, each of which must be found; "name:word", "name>1" and "name<1" look into one parameter.
function parseFilter(text) {
  const tests = [];
  for (const [, field, operator, quoted, plain, word] of text.matchAll(
    /(?:([\p{L}_]\w*)([:=<>])(?:"([^"]*)"|(\S+)))|"?([^\s"]+)"?/gu,
  )) {
    if (!field) tests.push(anywhere(word));
    else tests.push(inField(field.toLowerCase(), operator, quoted ?? plain));
  }
  return (card) => tests.every((test) => test(card));
}

function anywhere(word) {
  const wanted = word.toLowerCase();
  return (card) => haystack(card).includes(wanted);
}

function haystack(card) {
  if (card.fnbText === undefined) {
    const rows = (card.rows || []).map(([name, value]) => `${name} ${value}`);
    card.fnbText = [card.name, card.prompt, card.seed, sizeText(card), card.error, ...rows]
      .filter(Boolean).join("\n").toLowerCase();
  }
  return card.fnbText;
}

function inField(field, operator, wanted) {
  const key = SHORT[field] || field;
  const number = Number(wanted);
  const word = wanted.toLowerCase();
  return (card) => {
    const value = key === "size" ? sizeText(card).replaceAll(" ", "")
      : key === "date" ? dateText(card) : cardValue(card, key);
    if (operator === ">" || operator === "<") {
      const found = Number(value);
      if (!value || !Number.isFinite(found) || !Number.isFinite(number)) return false;
      return operator === ">" ? found > number : found < number;
    }
    if (operator === "=") return value.toLowerCase() === word;
    return value.toLowerCase().includes(key === "size" ? word.replace(/[x*]/g, "\u00d7") : word);
  };
}

function parameterNames(cards) {
  const names = new Set();
  for (const card of cards) for (const [name] of card.rows || []) names.add(name);
  return [...names].sort();
}
