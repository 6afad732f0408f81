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

  takeOriginal(message, buffers) {
    if (message.error) {
      const request = this.waiting.get(message.id);
      this.waiting.delete(message.id);
      clearTimeout(request?.timer);
      request?.reject(new Error(message.error));
      return;
    }
    this.keepOriginal(message.id, new Blob([buffers[0]], { type: message.mime }));
  }

  keepOriginal(id, blob) {
    const request = this.waiting.get(id);
    this.waiting.delete(id);
    clearTimeout(request?.timer);
    const original = { blob, url: URL.createObjectURL(blob) };
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

// Zooms and moves an image in a frame, by wheel, pointer and keys.
class Zoom {
  constructor(frame, image, onChange) {
    this.frame = frame;
    this.image = image;
    this.onChange = onChange;
    this.reset();
    frame.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    frame.addEventListener("pointerdown", (event) => this.grab(event));
    frame.addEventListener("dblclick", (event) => this.toggle(event));
    image.addEventListener("load", () => this.draw());
  }

  // The scale at which the whole image fits into the frame.
  get fit() {
    const { naturalWidth: width, naturalHeight: height } = this.image;
    if (!width) return 1;
    const box = this.frame.getBoundingClientRect();
    return Math.min(box.width / width, box.height / height, 1);
  }

  reset() {
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.draw();
  }

  draw() {
    const room = this.frame.getBoundingClientRect();
    const limitX = Math.max((this.image.offsetWidth * this.scale - room.width) / 2, 0);
    const limitY = Math.max((this.image.offsetHeight * this.scale - room.height) / 2, 0);
    this.x = Math.min(Math.max(this.x, -limitX), limitX);
    this.y = Math.min(Math.max(this.y, -limitY), limitY);
    this.image.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    this.frame.classList.toggle("fnb-zoomed", this.scale > 1.001);
    this.onChange?.();
  }

  // Enlarges around a point of the screen, or the middle.
  by(factor, clientX, clientY) {
    const box = this.frame.getBoundingClientRect();
    const dx = clientX === undefined ? 0 : clientX - box.left - box.width / 2;
    const dy = clientY === undefined ? 0 : clientY - box.top - box.height / 2;
    const scale = Math.min(Math.max(this.scale * factor, 1), 16);
    this.x = dx - ((dx - this.x) * scale) / this.scale;
    this.y = dy - ((dy - this.y) * scale) / this.scale;
    this.scale = scale;
    this.draw();
  }

  wheel(event) {
    event.preventDefault();
    this.by(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), event.clientX, event.clientY);
  }

  toggle(event) {
    if (event.target.closest("button")) return;
    if (this.scale > 1.001) this.reset();
    else this.by(Math.max(1 / this.fit, 2), event.clientX, event.clientY);
  }

  grab(event) {
    if (event.button !== 0 || this.scale <= 1.001 || event.target.closest("button")) return;
    const start = { x: this.x - event.clientX, y: this.y - event.clientY };
    const move = (moved) => {
      this.x = start.x + moved.clientX;
      this.y = start.y + moved.clientY;
      this.draw();
    };
    const drop = () => {
      this.frame.removeEventListener("pointermove", move);
      this.frame.classList.remove("fnb-dragging");
    };
    this.frame.setPointerCapture(event.pointerId);
    this.frame.classList.add("fnb-dragging");
    this.frame.addEventListener("pointermove", move);
    this.frame.addEventListener("pointerup", drop, { once: true });
    this.frame.addEventListener("pointercancel", drop, { once: true });
  }

  get label() {
    return `${Math.round(this.fit * this.scale * 100)} %`;
  }
}
