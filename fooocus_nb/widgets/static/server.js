// The Jupyter server, and our extension of it, where both are there: they answer while the kernel
// is busy. VS Code and Colab have neither; then everything goes to the kernel.

const STATUS_MS = 5000;

function pageConfig() {
  const node = document.getElementById("jupyter-config-data");
  try {
    return node ? JSON.parse(node.textContent) : null;
  } catch {
    return null;
  }
}

// Asks the server as the page itself does. Null where there is none, or it does not answer.
async function askServer(path, { method = "GET", body, ms = 0 } = {}) {
  const config = pageConfig();
  if (!config) return null;
  const cookie = document.cookie.match(/(?:^|;\s*)_xsrf=([^;]*)/);
  const headers = {};
  if (cookie && method !== "GET") headers["X-XSRFToken"] = decodeURIComponent(cookie[1]);
  if (config.token) headers["Authorization"] = `token ${config.token}`;
  const limit = new AbortController();
  const timer = ms ? setTimeout(() => limit.abort(), ms) : 0;
  try {
    return await fetch(`${config.baseUrl || "/"}${path}`, {
      method, headers, body, credentials: "same-origin", signal: limit.signal,
    });
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}

function askStatus() {
  return askServer("fooocus-nb/api/status", { ms: STATUS_MS });
}

// Whether our extension answers: asked once for a page, for all of its views; and again where no
// answer came, which a server that is busy for a moment has not either.
function extensionAnswers() {
  extensionAnswers.asked ||= askStatus().then((answer) => {
    if (!answer) extensionAnswers.asked = null;
    return Boolean(answer?.ok);
  });
  return extensionAnswers.asked;
}

async function askExtension(path, options) {
  return (await extensionAnswers()) ? askServer(`fooocus-nb/api/${path}`, options) : null;
}
