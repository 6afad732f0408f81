// A shared run as a page: what the grid asks for is taken from inert elements of the page itself.
// They follow this script, so the first images show while the rest of a long page is still read.

const KEPT_URLS = 900;
const POLL_MS = 40;

function bytesOf(id) {
  const text = document.getElementById(id)?.textContent;
  return text === undefined ? null : Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
}

// An element that is not read yet is waited for until all of the page is there.
async function arrived(id, signal) {
  // The element after it is there, or the page is whole: else its text may be cut short.
  const whole = () => document.readyState !== "loading" || document.getElementById(id)?.nextSibling;
  while (!whole()) {
    if (signal?.aborted) throw new Error("");
    await new Promise((resolve) => { setTimeout(resolve, POLL_MS); });
  }
  const bytes = bytesOf(id);
  if (!bytes) throw new Error("There is no small image of it.");
  return bytes;
}

class PageSource {
  constructor(grid) {
    this.names = new Map(grid.cells.map((cell) => [cell.key, cell.name]));
    this.urls = new Map();
  }

  async thumbnail(key, signal) {
    const known = this.urls.get(key);
    if (known) {
      this.urls.delete(key); // and to the end again: the least recently used is dropped first
      this.urls.set(key, known);
      return known;
    }
    const bytes = await arrived(`fnb-thumbnail-${this.names.get(key)}`, signal);
    const url = URL.createObjectURL(new Blob([bytes], { type: "image/webp" }));
    this.urls.set(key, url);
    while (this.urls.size > KEPT_URLS) {
      const [oldest, gone] = this.urls.entries().next().value;
      this.urls.delete(oldest);
      setTimeout(() => URL.revokeObjectURL(gone), 5_000); // it may still be decoded
    }
    return url;
  }

  // What is known of all images is one compressed block, which is read when it is first asked for.
  about() {
    this.known ??= (async () => {
      const block = new Blob([await arrived("fnb-details")]);
      const stream = block.stream().pipeThrough(new DecompressionStream("gzip"));
      const lines = (await new Response(stream).text()).split("\n").filter(Boolean);
      return new Map(lines.map((line) => JSON.parse(line)).map(({ name, text }) => [name, text]));
    })();
    return this.known;
  }

  async details(key) {
    const text = (await this.about()).get(key);
    if (text === undefined) throw new Error("Nothing more is known of it.");
    return JSON.parse(text);
  }
}

const shared = JSON.parse(document.getElementById("fnb-grid").textContent);
const pageSource = new PageSource(shared);
const host = document.getElementById("fnb-host");
host.replaceChildren();
mountRunGrid(host, {
  ...shared,
  thumbnail: (key, side, signal) => pageSource.thumbnail(key, signal),
  details: (key) => pageSource.details(key),
  onHandOn: async (kind, key) => ({ text: (await pageSource.details(key)).cell }),
});
