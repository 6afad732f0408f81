// The engines of the user, as the server extension lists them, and what can be asked of it.

const POLL_MS = 10_000;
const ABSENT =
  "The server that runs JupyterLab does not have the fooocus-nb extension: install fooocus-nb " +
  "in its environment, too, and start it again.";

export class EngineList {
  constructor(app, { coreutils, services, signaling }) {
    this._settings = app.serviceManager.serverSettings;
    this._join = coreutils.URLExt.join;
    this._request = services.ServerConnection.makeRequest;
    this.changed = new signaling.Signal(this);
    this.engines = [];
    this.failure = ""; // why there is no list; empty where there is one
    this._last = "";
    this._loading = null;
    this._following = null;
    setInterval(() => document.visibilityState === "visible" && this.refresh(), POLL_MS);
    // Its events say at once what the next look would find.
    app.serviceManager.events?.stream.connect((_stream, event) => {
      if (String(event.schema_id ?? "").includes("fooocus")) this.refresh();
    });
    this.refresh();
  }

  // The address of a route of the extension; every part of it is quoted.
  url(...parts) {
    return this._join(this._settings.baseUrl, "fooocus-nb", ...parts.map(encodeURIComponent));
  }

  page(name) {
    return `${this.url("ui", name)}/`;
  }

  // A websocket that sends the last lines of a log, and each further one.
  follow(name) {
    const base = this._settings.wsUrl + `fooocus-nb/api/engines/${encodeURIComponent(name)}/log/follow`;
    const { token, appendToken } = this._settings;
    const query = appendToken && token ? `?token=${encodeURIComponent(token)}` : "";
    return new this._settings.WebSocket(base + query);
  }

  // The XSRF header and the token go along.
  async call(parts, init = {}) {
    const answer = await this._request(this.url(...parts), init, this._settings);
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => ({}));
    throw new Error(said.message || (answer.status === 404 ? ABSENT : answer.statusText));
  }

  // One request at a time. Who asks while one is on its way gets what the next one finds: that one
  // may have been answered before what they want to see.
  refresh() {
    if (!this._loading) return (this._loading = this._load().finally(() => (this._loading = null)));
    this._following ??= this._loading.then(() => {
      this._following = null;
      return this.refresh();
    });
    return this._following;
  }

  async _load() {
    let found = [];
    this.failure = "";
    try {
      found = (await (await this.call(["api", "engines"])).json()).engines;
    } catch (error) {
      this.failure = error.message; // told to who asks for an engine: this is asked again and again
    }
    const text = JSON.stringify(found);
    if (text === this._last) return;
    this._last = text;
    this.engines = found;
    this.changed.emit();
  }

  async stop(name) {
    try {
      await this.call(["api", "engines", name, "stop"], { method: "POST" });
    } finally {
      await this.refresh();
    }
  }
}
