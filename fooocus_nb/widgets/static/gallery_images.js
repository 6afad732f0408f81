// The images that a page holds: thumbnails of those that were shown, originals of those opened.

const MAX_THUMBS = 600;
const MAX_ORIGINALS = 8;
const ORIGINAL_MS = 20_000;

class ImageCache {
  // `grant` returns the id by which the Jupyter server knows an image; it may have none.
  constructor(model, viewer, grant = () => "") {
    this.model = model;
    this.viewer = viewer;
    this.grant = grant;
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
    const grant = this.grant(id);
    const askKernel = () => this.model.send({ kind: "original", id, viewer: this.viewer });
    if (!grant) {
      askKernel();
      return request.promise;
    }
    this.fromServer(grant).then((blob) => {
      if (this.waiting.get(id) !== request) return; // it took too long, or all was closed
      if (blob) this.keepOriginal(id, blob);
      else askKernel();
    });
    return request.promise;
  }

  // Resolves to the original by HTTP, whatever the kernel does; to null where the server has none.
  async fromServer(grant) {
    const answer = await askExtension(`images/${grant}`);
    return answer?.ok ? answer.blob().catch(() => null) : null;
  }

  // Returns whether it came when nobody waited for it any more.
  takeOriginal(message, buffers) {
    const late = !message.error && !this.waiting.has(message.id);
    if (message.error) {
      const request = this.waiting.get(message.id);
      this.waiting.delete(message.id);
      clearTimeout(request?.timer);
      request?.reject(new Error(message.error));
      return late;
    }
    this.keepOriginal(message.id, new Blob([buffers[0]], { type: message.mime }));
    return late;
  }

  keepOriginal(id, blob) {
    const request = this.waiting.get(id);
    this.waiting.delete(id);
    clearTimeout(request?.timer);
    const original = { blob, url: URL.createObjectURL(blob) };
    const before = this.originals.get(id);
    if (before) URL.revokeObjectURL(before.url);
    this.originals.set(id, original);
    while (this.originals.size > MAX_ORIGINALS) {
      const [oldest, old] = this.originals.entries().next().value;
      URL.revokeObjectURL(old.url);
      this.originals.delete(oldest);
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
