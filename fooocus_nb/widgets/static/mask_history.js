// The history of a mask: one PNG for each step, null where nothing is painted.

const MAX_STEPS = 50;

function sameBytes(one, other) {
  if (one === other) return true;
  if (!one || !other || one.length !== other.length) return false;
  return one.every((byte, index) => byte === other[index]);
}

class MaskHistory {
  constructor() {
    this.steps = [null];
    this.index = 0;
  }

  get current() {
    return this.steps[this.index];
  }

  get canUndo() {
    return this.index > 0;
  }

  get canRedo() {
    return this.index < this.steps.length - 1;
  }

  // Adds a step after the current one. Steps that were undone are dropped: they led elsewhere.
  add(png) {
    if (sameBytes(png, this.current)) return;
    this.steps = [...this.steps.slice(0, this.index + 1), png].slice(-MAX_STEPS);
    this.index = this.steps.length - 1;
  }

  // Goes back (-1) or forward (1); returns whether there was a step to go to.
  move(by) {
    const to = this.index + by;
    if (to < 0 || to >= this.steps.length) return false;
    this.index = to;
    return true;
  }
}
