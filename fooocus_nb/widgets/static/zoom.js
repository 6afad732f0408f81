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
    this.frame.classList.add("fnb-dragging");
    followPointer(this.frame, event, move, () => this.frame.classList.remove("fnb-dragging"));
  }

  get label() {
    return `${Math.round(this.fit * this.scale * 100)} %`;
  }
}
