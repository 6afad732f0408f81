// Stands before an engine's own scripts, in a page without an origin and behind a proxy.
(() => {
  "use strict";
  const limit = LIMIT;
  const size = (data) => (typeof data === "string" ? data.length : data?.byteLength ?? data?.size ?? 0);
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;

  function tell(text) {
    const show = () => {
      document.querySelector("#fooocus-nb-note")?.remove();
      const note = document.createElement("div");
      note.id = "fooocus-nb-note";
      note.setAttribute("role", "alert");
      note.style.cssText =
        "position:fixed;inset:0 0 auto 0;z-index:2147483647;padding:12px 48px 12px 16px;" +
        "background:#b3261e;color:#fff;font:14px/1.4 system-ui,sans-serif";
      note.textContent = text;
      const close = document.createElement("button");
      close.textContent = "×";
      close.setAttribute("aria-label", "Close");
      close.style.cssText =
        "position:absolute;top:8px;right:12px;border:0;background:none;color:#fff;font-size:22px;cursor:pointer";
      close.onclick = () => note.remove();
      note.append(close);
      document.body.append(note);
    };
    if (document.body) show();
    else document.addEventListener("DOMContentLoaded", show);
  }

  // A page without an origin has no storage, and asking for it is an error that stops some pages.
  for (const name of ["localStorage", "sessionStorage"]) {
    try {
      void window[name];
    } catch {
      const kept = new Map();
      const storage = {
        getItem: (key) => kept.get(String(key)) ?? null,
        setItem: (key, value) => void kept.set(String(key), String(value)),
        removeItem: (key) => void kept.delete(String(key)),
        clear: () => kept.clear(),
        key: (index) => [...kept.keys()][index] ?? null,
        get length() {
          return kept.size;
        },
      };
      Object.defineProperty(window, name, { value: storage, configurable: true });
    }
  }
  try {
    void document.cookie;
  } catch {
    Object.defineProperty(document, "cookie", { get: () => "", set: () => {}, configurable: true });
  }

  // Gradio measures its parts by frames within, which it may look into unless it is in a frame of
  // another origin itself. A page without an origin may not: so it must believe that it is in one.
  if (window.parent === window) {
    const apart = new Proxy({}, {
      get(_target, name) {
        if (name === "postMessage") return () => {};
        throw new DOMException("a page without an origin", "SecurityError");
      },
    });
    Object.defineProperty(window, "parent", { value: apart, configurable: true });
  }

  // What is too large would end a connection without a word.
  const Socket = window.WebSocket;
  const sent = new WeakMap();
  window.WebSocket = class WebSocket extends Socket {
    constructor(...given) {
      super(...given);
      let opened = false;
      this.addEventListener("open", () => (opened = true));
      this.addEventListener("close", ({ code, wasClean }) => {
        if (!opened) {
          tell(
            "The page has no connection to its engine: a proxy between this browser and Jupyter may not " +
              "pass websockets on. Ask whoever runs it, or use the engine in a notebook.",
          );
        } else if (code === 1009 && !((sent.get(this) ?? 0) > 1e6)) {
          tell(
            `The engine has sent more than ${megabytes(limit)} in one message, which is the limit. ` +
              "Ask for fewer or smaller images, or set FooocusExtension.max_page_message.",
          );
        } else if (code === 1009 || (!wasClean && (sent.get(this) ?? 0) > 1e6)) {
          tell(
            `The connection was cut while ${megabytes(sent.get(this) ?? 0)} were sent: Jupyter, or a proxy ` +
              "before it, takes less in one message. Use a smaller image.",
          );
        }
      });
    }

    send(data) {
      if (size(data) > limit) {
        tell(
          `This is too large to send: ${megabytes(size(data))}, and the limit is ${megabytes(limit)}. ` +
            "Use a smaller image, or set FooocusExtension.max_page_message.",
        );
        this.close(3009, "too large");
        return;
      }
      sent.set(this, size(data));
      super.send(data);
    }
  };

  // As long as the page is open its engine must not fall asleep: the page would be dead then.
  (function hold(again = 5_000) {
    const socket = new Socket(new URL("fooocus-nb-open", location.href.replace(/^http/, "ws")));
    let since;
    socket.onopen = () => (since = Date.now());
    socket.onclose = () => since && setTimeout(hold, again, Math.min(2 * again, 300_000));
  })();

  const fetched = window.fetch;
  window.fetch = async (input, init) => {
    // Gradio 5 asks for cookies to go along. A page without an origin has none, and a browser
    // refuses the whole request; what is below the secret address needs none.
    const answer = await fetched(input, { ...init, credentials: "omit" });
    if (answer.status === 413) {
      tell("The upload was refused as too large, by Jupyter or by a proxy before it. Use a smaller file.");
    }
    return answer;
  };

  // A link to another origin is followed, not saved; and to a page without one, every origin is.
  document.addEventListener(
    "click",
    (event) => {
      const link = event.target.closest?.("a[download]");
      if (!link || !/^https?:/.test(link.href)) return;
      event.preventDefault();
      const name = link.download || decodeURIComponent(link.href.split(/[?#]/)[0].split("/").at(-1)) || "image";
      fetched(link.href)
        .then((answer) => (answer.ok ? answer.blob() : Promise.reject(new Error(answer.statusText))))
        .then((blob) => {
          const saved = document.createElement("a");
          saved.href = URL.createObjectURL(blob);
          saved.download = name;
          saved.click();
          setTimeout(() => URL.revokeObjectURL(saved.href), 60_000);
        })
        .catch((error) => tell(`The file could not be saved: ${error.message}`));
    },
    true,
  );
})();
