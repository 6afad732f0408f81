// The images that a page holds: thumbnails of those that were shown, originals of those opened.

const MAX_THUMBS = 600;
const MAX_ORIGINALS = 8;
const ORIGINAL_MS = 20_000;

class ImageCache {
  constructor(model, viewer) {
    this.model = model;
    this.viewer = viewer;
    this.thumbs = new Map();
    this.originals = new Map();
    this.waiting = new Map();
  }

  thumb(id) {
    const url = this.thumbs.get(id);
    if (url) {
      this.thumbs.delete(id); // and to the end again: the least recently used is dropped first
      this.thumbs.set(id, url);
    }
    return url;
  }

  takeThumbs(ids, buffers) {
    ids.forEach((id, index) => {
      const old = this.thumbs.get(id);
      if (old) URL.revokeObjectURL(old);
      this.thumbs.delete(id);
      this.thumbs.set(id, URL.createObjectURL(new Blob([buffers[index]], { type: "image/webp" })));
    });
    while (this.thumbs.size > MAX_THUMBS) {
      const [id, url] = this.thumbs.entries().next().value;
      URL.revokeObjectURL(url);
      this.thumbs.delete(id);
    }
  }

  // Resolves to the original as {url, blob}; rejects with a message to show.
  original(id) {
    const known = this.originals.get(id);
    if (known) return Promise.resolve(known);
    const asked = this.waiting.get(id);
    if (asked) return asked.promise;
    const request = {};
    request.promise = new Promise((resolve, reject) => {
      request.resolve = resolve;
      request.reject = reject;
    });
    request.timer = setTimeout(() => {
      this.waiting.delete(id);
      request.reject(new Error("The kernel is busy: the original follows when it responds."));
    }, ORIGINAL_MS);
    this.waiting.set(id, request);
    this.model.send({ kind: "original", id, viewer: this.viewer });
    return request.promise;
  }

  takeOriginal(message, buffers) {
    const request = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    clearTimeout(request?.timer);
    if (message.error) {
      request?.reject(new Error(message.error));
      return;
    }
    const blob = new Blob([buffers[0]], { type: message.mime });
    const original = { blob, url: URL.createObjectURL(blob) };
    this.originals.set(message.id, original);
    while (this.originals.size > MAX_ORIGINALS) {
      const [id, old] = this.originals.entries().next().value;
      URL.revokeObjectURL(old.url);
      this.originals.delete(id);
    }
    request?.resolve(original);
  }

  clear() {
    for (const url of this.thumbs.values()) URL.revokeObjectURL(url);
    for (const { url } of this.originals.values()) URL.revokeObjectURL(url);
    for (const { timer } of this.waiting.values()) clearTimeout(timer);
    this.thumbs.clear();
    this.originals.clear();
    this.waiting.clear();
  }
}
