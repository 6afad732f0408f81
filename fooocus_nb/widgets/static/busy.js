// What the live monitors share: the kernel interrupted from the page, and images from their bytes.

const INTERRUPT_MS = 20_000;

// While a cell runs synchronous code the kernel handles no messages, but interrupts.
async function interruptKernel(kernelId) {
  if (!kernelId) return false;
  const path = `api/kernels/${encodeURIComponent(kernelId)}/interrupt`;
  return Boolean((await askServer(path, { method: "POST", ms: INTERRUPT_MS }))?.ok);
}

class ImageUrl {
  constructor(image) {
    this.image = image;
    this.url = null;
  }
  show(data) {
    const old = this.url;
    this.url = data && data.byteLength ? URL.createObjectURL(new Blob([data], { type: "image/jpeg" })) : null;
    if (this.url) this.image.src = this.url;
    else this.image.removeAttribute("src");
    this.image.hidden = !this.url;
    if (old) URL.revokeObjectURL(old);
  }
}
