// An engine's log in a tab: its last lines, and what comes.

const KEPT = 5000; // lines on the page
const AGAIN_MS = 3000;
const MAX_AGAIN_MS = 30_000;

export function logPanel({ widgets }, list, name) {
  return new (class extends widgets.Widget {
    constructor() {
      super();
      this.addClass("fnb-log-panel");
      this.title.label = `Log of ${name}`;
      const head = document.createElement("div");
      head.className = "fnb-log-head";
      this._state = document.createElement("span");
      this._state.className = "fnb-log-state";
      this._state.setAttribute("role", "status");
      const all = document.createElement("a");
      all.textContent = "Save the whole log";
      all.href = list.url("api", "engines", name, "log", "file");
      all.download = `${name}.log`;
      head.append(this._state, all);
      this._lines = document.createElement("pre");
      this._lines.className = "fnb-log-lines";
      this._lines.tabIndex = 0;
      this._lines.setAttribute("aria-label", `Log of ${name}`);
      this.node.append(head, this._lines);
      this._again = AGAIN_MS;
      this._open();
    }

    _open() {
      this._state.textContent = "Connecting ...";
      const socket = (this._socket = list.follow(name));
      let first = true;
      socket.onopen = () => {
        this._state.textContent = "Following";
        this._again = AGAIN_MS;
      };
      socket.onmessage = ({ data }) => {
        // The last lines come first: after a lost connection they are here already.
        if (first) this._lines.replaceChildren();
        first = false;
        this._take(JSON.parse(data));
      };
      socket.onclose = ({ reason }) => {
        if (this.isDisposed) return;
        this._state.textContent = reason || "Not connected: the engine has ended, or the server.";
        this._timer = setTimeout(() => this._open(), this._again);
        this._again = Math.min(2 * this._again, MAX_AGAIN_MS);
      };
    }

    _take({ text, levels, count, skipped }) {
      if (skipped) this._state.textContent = "Following; more was printed than could be shown";
      if (!count) return;
      const node = this._lines;
      const follows = node.scrollHeight - node.scrollTop - node.clientHeight < 30;
      const part = document.createDocumentFragment();
      text.split("\n").forEach((line, index) => {
        const row = document.createElement("div");
        row.className = `fnb-log-${levels[index]}`;
        row.textContent = line || " ";
        part.append(row);
      });
      node.append(part);
      while (node.childElementCount > KEPT) node.firstElementChild.remove();
      if (follows) node.scrollTop = node.scrollHeight;
    }

    dispose() {
      clearTimeout(this._timer);
      super.dispose();
      this._socket?.close();
    }
  })();
}
