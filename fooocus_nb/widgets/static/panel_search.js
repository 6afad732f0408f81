// The search over the panel's fields, as pure functions.

function searchWords(text) {
  return text.trim().toLowerCase().split(/\s+/).filter(Boolean);
}

// Every word has to be found, wherever in the field's label, hint or names.
function matchesAll(haystack, words) {
  return words.every((word) => haystack.includes(word));
}
