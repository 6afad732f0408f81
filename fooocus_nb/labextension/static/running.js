// "Fooocus engines" among the running things.

import { CONTEXT, engineIcon } from "./commands.js";

export function runningEngines(list, commands, { ui }) {
  const icon = engineIcon(ui);
  return {
    name: "Fooocus engines",
    supportsMultipleViews: false,
    running: () => list.engines.map((engine) => new Item(engine, commands, icon, ui)),
    refreshRunning: () => list.refresh(),
    runningChanged: list.changed,
    shutdownAll: () => commands.stopAll(),
    shutdownLabel: "Stop this engine",
    shutdownAllLabel: "Stop All",
    shutdownAllConfirmationText:
      "Stop all your Fooocus engines, also those that notebooks use? A generation in progress is lost.",
  };
}

class Item {
  constructor(engine, commands, icon, ui) {
    this._engine = engine;
    this._commands = commands;
    this._icon = icon;
    this.className = "fnb-running-engine";
    this.context = CONTEXT + engine.name; // what the context menu is about
    this.children = [
      new Action("Page", ui.launchIcon ?? ui.linkIcon, () => commands.openPage(engine.name)),
      new Action("Log", ui.textEditorIcon, () => commands.openLog(engine.name)),
      new Action("Resume", ui.runIcon, () => commands.resume()),
    ];
  }

  open() {
    this._commands.openPage(this._engine.name);
  }

  shutdown() {
    this._commands.stop(this._engine.name);
  }

  icon() {
    return this._icon;
  }

  label() {
    return this._engine.name;
  }

  labelTitle() {
    const { title, kernels = [], pid, memory } = this._engine;
    const names = kernels.map(({ notebook, pid }) => notebook ?? `process ${pid}`);
    const used = names.length ? `used by ${names.join(", ")}` : "used by no notebook";
    const size = memory ? `${(memory / 1e9).toFixed(1)} GB of memory` : "";
    return [title, used, pid ? `process ${pid}` : "", size].filter(Boolean).join("\n");
  }

  detail() {
    return this._engine.state;
  }
}

class Action {
  constructor(label, icon, act) {
    this._label = label;
    this._icon = icon;
    this.open = act;
    this.className = "fnb-running-action";
  }

  icon() {
    return this._icon;
  }

  label() {
    return this._label;
  }
}
