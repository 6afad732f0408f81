// The commands: in the palette, the Launcher and the context menu of a running engine.

import { logPanel } from "./log_panel.js";
import { pagePanel } from "./page_panel.js";

const CATEGORY = "Fooocus";
export const CONTEXT = "fooocus-nb:";
const SELECTOR = ".fnb-running-engine";
const FIRST_CELL = "%load_ext fooocus_nb\n%fooocus start";
const RESUME_CELL = "%load_ext fooocus_nb\n%fooocus resume";
const SECOND_CELL = "%%fooocus\na lighthouse at dusk";
const SVG =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16">' +
  '<g class="jp-icon3" fill="none" stroke="#616161" stroke-width="2" stroke-linecap="round">' +
  '<path d="M3 8V5a2 2 0 0 1 2-2h3M16 3h3a2 2 0 0 1 2 2v3M21 16v3a2 2 0 0 1-2 2h-3' +
  'M8 21H5a2 2 0 0 1-2-2v-3"/></g>' +
  '<path class="jp-icon3 jp-icon-selectable" fill="#616161" ' +
  'd="M12 6l1.6 4.4L18 12l-4.4 1.6L12 18l-1.6-4.4L6 12l4.4-1.6z"/></svg>';

let icon;

export function engineIcon({ LabIcon }) {
  icon ??= new LabIcon({ name: "fooocus-nb:engine", svgstr: SVG });
  return icon;
}

export class EngineCommands {
  // The tracker tells which notebook is in front; null where the application has none.
  constructor(app, packages, list, tracker) {
    this._app = app;
    this._packages = packages;
    this._list = list;
    this._tracker = tracker;
  }

  register({ palette, launcher }) {
    const { commands, contextMenu } = this._app;
    const icon = engineIcon(this._packages.ui);
    const add = (id, label, execute, more = {}) => {
      commands.addCommand(`fooocus-nb:${id}`, { label, execute, ...more });
      return `fooocus-nb:${id}`;
    };
    const given = (args) => args.name ?? this._underMouse();
    const ids = [
      add("new-notebook", "New Fooocus notebook", (args) => this.newNotebook(args), {
        label: (args) => (args.isLauncher ? "Fooocus" : "New Fooocus notebook"),
        caption: "A notebook whose first cell starts a Fooocus engine",
        icon: (args) => (args.isPalette ? undefined : icon),
      }),
      add("open-page", "Open the engine's page", (args) => this.openPage(given(args))),
      add("open-log", "Open the engine's log", (args) => this.openLog(given(args))),
      add("resume", "Resume what the notebook had asked for", () => this.resume(), {
        caption: "Inserts and runs %fooocus resume in the notebook that is open",
      }),
      add("stop", "Stop the engine", (args) => this.stop(given(args))),
      add("stop-all", "Stop all engines", () => this.stopAllAsked()),
      add("refresh", "Look for engines", () => this._list.refresh()),
    ];
    for (const command of ids) palette?.addItem({ command, category: CATEGORY, args: { isPalette: true } });
    launcher?.add({
      command: ids[0], category: "Notebook", rank: 10, args: { isLauncher: true },
      kernelIconUrl: `data:image/svg+xml,${encodeURIComponent(SVG)}`, // it draws no other icon there
    });
    for (const [rank, command] of ids.slice(1, 5).entries()) {
      contextMenu?.addItem({ command, selector: SELECTOR, rank });
    }
    document.addEventListener("contextmenu", (event) => (this._clicked = event.target), true);
    // A view in a notebook asks for a tab in this way: it has no other way to the application.
    document.addEventListener("fooocus-nb:open-page", (event) => {
      event.preventDefault(); // which says that somebody does it
      this.openPage(String(event.detail?.name ?? ""));
    });
  }

  // The engine whose context menu is open.
  _underMouse() {
    const node = this._clicked?.closest?.(SELECTOR);
    this._clicked = null; // the palette's next call means no engine in particular
    const context = node?.dataset.context ?? "";
    return context.startsWith(CONTEXT) ? context.slice(CONTEXT.length) : undefined;
  }

  // The engine that is meant: the given one, the only one, or the one that the user picks. What it
  // does is known `afresh` then, where that is wanted.
  async _pick(name, title, { afresh = false } = {}) {
    const { InputDialog, showDialog, Dialog } = this._packages.apputils;
    if (name) {
      if (afresh) await this._list.refresh();
      return name;
    }
    await this._list.refresh();
    const names = this._list.engines.map((engine) => engine.name);
    if (names.length === 1) return names[0];
    if (names.length) {
      const picked = await InputDialog.getItem({ title, items: names, okLabel: "Choose" });
      if (!picked.button.accept) return undefined;
      if (afresh) await this._list.refresh(); // the user has taken a while
      return picked.value;
    }
    if (await this._toldFailure()) return undefined;
    const body = "Start one in a notebook: %load_ext fooocus_nb, then %fooocus start.";
    await showDialog({ title: "No Fooocus engine runs", body, buttons: [Dialog.okButton()] });
    return undefined;
  }

  // Whether the list could not be had, which is told then.
  async _toldFailure() {
    const { failure } = this._list;
    if (failure) await this._packages.apputils.showErrorMessage("The engines cannot be listed", failure);
    return Boolean(failure);
  }

  async openPage(given) {
    const name = await this._pick(given, "Open the page of which engine?");
    if (name) this._show(`fooocus-nb-page-${name}`, () => pagePanel(this._packages, this._list, name));
  }

  async openLog(given) {
    const name = await this._pick(given, "Open the log of which engine?");
    if (name) this._show(`fooocus-nb-log-${name}`, () => logPanel(this._packages, this._list, name));
  }

  // One tab for one thing: it is brought to the front where it is open already.
  _show(id, make) {
    const { shell } = this._app;
    const open = [...shell.widgets("main")].find((widget) => widget.id === id);
    if (!open) {
      const { MainAreaWidget } = this._packages.apputils;
      const content = make();
      const widget = new MainAreaWidget({ content });
      widget.id = id;
      widget.title.label = content.title.label;
      widget.title.icon = engineIcon(this._packages.ui);
      widget.title.closable = true;
      shell.add(widget, "main");
    }
    shell.activateById(id);
  }

  // In the notebook that was in front last. What it shows is compared by its file, so it is saved
  // before, and also after: then what is shown now counts as shown.
  async resume() {
    const panel = this._tracker?.currentWidget;
    if (!panel) {
      const { showDialog, Dialog } = this._packages.apputils;
      const body = "Open the notebook whose images are missing, then choose this again.";
      await showDialog({ title: "No notebook is open", body, buttons: [Dialog.okButton()] });
      return;
    }
    const { NotebookActions } = this._packages.notebook;
    const { content, context, sessionContext } = panel;
    this._app.shell.activateById(panel.id);
    await sessionContext.ready;
    await context.save();
    content.activeCellIndex = content.widgets.length - 1;
    NotebookActions.insertBelow(content);
    content.activeCell.model.sharedModel.setSource(RESUME_CELL);
    await NotebookActions.run(content, sessionContext);
    await context.save();
  }

  async stop(given) {
    const { Dialog, showDialog } = this._packages.apputils;
    // Whether to ask depends on what it does now.
    const name = await this._pick(given, "Stop which engine?", { afresh: true });
    if (!name) return;
    if (await this._toldFailure()) return;
    const engine = this._list.engines.find((each) => each.name === name);
    if (!engine) return;
    if (engine.state === "asleep") {
      const body = "Nothing of it runs: engine.stop() in its notebook keeps it from waking up.";
      await showDialog({ title: `${name} is asleep`, body, buttons: [Dialog.okButton()] });
      return;
    }
    if (engine.state === "busy") {
      const asked = await showDialog({
        title: `Stop ${name}?`,
        body: "It is generating: what is not finished is lost.",
        buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: "Stop" })],
      });
      if (!asked.button.accept) return;
    }
    await this._stopped([name]);
  }

  // For the sidebar, which has asked by then.
  async stopAll() {
    await this._stopped(await this._running());
  }

  async stopAllAsked() {
    const { Dialog, showDialog } = this._packages.apputils;
    const names = await this._running();
    if (!names.length) return;
    const asked = await showDialog({
      title: "Stop all engines?",
      body: `${names.join(", ")}: what they generate and have not finished is lost.`,
      buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: "Stop All" })],
    });
    if (asked.button.accept) await this._stopped(names);
  }

  // The names of the engines that run; none where the list could not be had, which is told.
  async _running() {
    await this._list.refresh();
    if (await this._toldFailure()) return [];
    const running = this._list.engines.filter((engine) => engine.state !== "asleep");
    return running.map((engine) => engine.name);
  }

  async _stopped(names) {
    const failed = (await Promise.allSettled(names.map((name) => this._list.stop(name)))).flatMap(
      (outcome) => (outcome.status === "rejected" ? [outcome.reason.message] : []),
    );
    if (failed.length) {
      await this._packages.apputils.showErrorMessage("Not every engine was stopped", failed.join("\n"));
    }
  }

  // By the contents service, and not by a command of Lab's, which Notebook 7 does not have.
  async newNotebook({ cwd }) {
    const { contents, kernelspecs } = this._app.serviceManager;
    const cell = (source) => ({
      cell_type: "code", source, metadata: {}, outputs: [], execution_count: null,
    });
    await kernelspecs.ready;
    const name = kernelspecs.specs?.default ?? "python3";
    const display_name = kernelspecs.specs?.kernelspecs[name]?.display_name ?? name;
    const model = await contents.newUntitled({ path: cwd ?? "", type: "notebook" });
    const content = {
      cells: [cell(FIRST_CELL), cell(SECOND_CELL)],
      metadata: { kernelspec: { name, display_name } },
      nbformat: 4,
      nbformat_minor: 4,
    };
    await contents.save(model.path, { type: "notebook", format: "json", content });
    return this._app.commands.execute("docmanager:open", { path: model.path });
  }
}
