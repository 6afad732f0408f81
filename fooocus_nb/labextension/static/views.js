// Owns the views' own display type: it shows the widget, and the static image that is stored beside
// it where the widget is gone with its kernel.

const VIEW = "application/vnd.fooocus-nb.view+json";
const WIDGET = "application/vnd.jupyter.widget-view+json";
const STATIC = "text/html";
// Before the widgets' own type, whose rank is -10.
const RANK = -20;
// Widgets say nothing while they wait for a kernel that may never come.
const PATIENCE_MS = 2000;
const AGAIN_MS = 250;
const LATEST_MS = 120_000;

export function ownViews(tracker, { widgets }) {
  const own = ({ content: { rendermime } }) => {
    const createRenderer = () => makeRenderer(widgets.Panel, rendermime);
    rendermime.addFactory({ safe: false, mimeTypes: [VIEW], createRenderer }, RANK);
  };
  tracker.forEach(own);
  tracker.widgetAdded.connect((_tracker, panel) => own(panel));
}

// "live", "lost", or "loading" as long as nobody can tell.
export function stateOf(node) {
  if (node.firstElementChild) return "live";
  return node.textContent.startsWith("Error") ? "lost" : "loading";
}

function makeRenderer(Panel, rendermime) {
  return new (class extends Panel {
    async renderModel(model) {
      this._end();
      for (const widget of [...this.widgets]) widget.dispose();
      this.addClass("fnb-view");
      this._model = model;
      // A page that is loaded again may draw outputs before the widgets have come to its notebook.
      // Their own renderers are told then, but nobody finds the one in here.
      const factory = rendermime.getFactory(WIDGET);
      const asked = Date.now();
      this._again = setInterval(() => {
        if (rendermime.getFactory(WIDGET) !== factory) this.renderModel(model);
        else if (Date.now() - asked > LATEST_MS) clearInterval(this._again);
      }, AGAIN_MS);
      if (!factory) return this._settle("lost"); // perhaps no widgets are installed
      const live = rendermime.createRenderer(WIDGET);
      this.addWidget(live);
      // The widgets' renderer tries again, and says so only on the page.
      // One that was replaced meanwhile tells nothing of the present one.
      const look = () => live.isDisposed || this._settle(stateOf(live.node));
      this._observer = new MutationObserver(look);
      this._observer.observe(live.node, { childList: true });
      this._timer = setTimeout(() => stateOf(live.node) === "loading" && this._settle("lost"), PATIENCE_MS);
      await live.renderModel(model);
      look();
    }

    // Shows the static image while the widget is lost, and nothing where there is none: then it is
    // an output of its own below.
    async _settle(state) {
      if (state === "loading" || this.isDisposed) return;
      const lost = state === "lost";
      this.toggleClass("fnb-view-lost", lost);
      if (!lost) {
        clearInterval(this._again);
        this._static?.dispose();
        this._static = null;
      } else if (!this._static && this._model.data[STATIC]) {
        this._static = rendermime.createRenderer(STATIC);
        this._static.addClass("fnb-view-static");
        this.addWidget(this._static);
        await this._static.renderModel(this._model);
      }
    }

    _end() {
      clearTimeout(this._timer);
      clearInterval(this._again);
      this._observer?.disconnect();
      this._static = null;
    }

    dispose() {
      this._end();
      super.dispose();
    }
  })();
}
