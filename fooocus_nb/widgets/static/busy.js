// What the live monitors share: the kernel interrupted from the page, and images from their bytes.

function pageConfig() {
  const node = document.getElementById("jupyter-config-data");
  try {
    return node ? JSON.parse(node.textContent) : null;
  } catch {
    return null;
  }
}

// While a cell runs synchronous code the kernel handles no messages, but interrupts.
async function interruptKernel(kernelId) {
  const config = pageConfig();
  if (!config || !kernelId) return false;
  const base = config.baseUrl || "/";
  const cookie = document.cookie.match(/(?:^|;\s*)_xsrf=([^;]*)/);
  const headers = {};
  if (cookie) headers["X-XSRFToken"] = decodeURIComponent(cookie[1]);
  if (config.token) headers["Authorization"] = `token ${config.token}`;
  try {
    const url = `${base}api/kernels/${encodeURIComponent(kernelId)}/interrupt`;
    const answer = await fetch(url, { method: "POST", headers, credentials: "same-origin" });
    return answer.ok;
  } catch {
    return false;
  }
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
