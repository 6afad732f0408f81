// The plugins of the extension. What an application does not have, such as the Launcher in
// Notebook 7, is left out.

import { insertCells } from "./cells.js";
import { EngineCommands } from "./commands.js";
import { EngineList } from "./engines.js";
import { runningEngines } from "./running.js";
import { ownViews } from "./views.js";

const STYLE = new URL("./style.css", import.meta.url).href;

export async function plugins(shared) {
  const [apputils, coreutils, launcher, notebook, running, services, signaling, ui, widgets] =
    await Promise.all([
      shared("@jupyterlab/apputils"),
      shared("@jupyterlab/coreutils"),
      shared("@jupyterlab/launcher"),
      shared("@jupyterlab/notebook"),
      shared("@jupyterlab/running"),
      shared("@jupyterlab/services"),
      shared("@lumino/signaling"),
      shared("@jupyterlab/ui-components"),
      shared("@lumino/widgets"),
    ]);
  const packages = { apputils, coreutils, notebook, services, signaling, ui, widgets };

  const engines = {
    id: "fooocus-nb:engines",
    description: "Fooocus engines among the running things, in the Launcher and the palette.",
    autoStart: true,
    optional: [
      apputils.ICommandPalette,
      ...(launcher ? [launcher.ILauncher] : []),
      ...(running ? [running.IRunningSessionManagers] : []),
      ...(notebook ? [notebook.INotebookTracker] : []),
    ],
    activate(app, palette, ...others) {
      addStyle();
      const cards = launcher ? others.shift() : null;
      const managers = running ? others.shift() : null;
      const list = new EngineList(app, packages);
      const tracker = notebook ? others.shift() : null;
      const commands = new EngineCommands(app, packages, list, tracker);
      commands.register({ palette, launcher: cards });
      managers?.add(runningEngines(list, commands, packages));
    },
  };

  const views = notebook && {
    id: "fooocus-nb:views",
    description: "Shows the static image of a view whose kernel is gone, and inserts cells for views.",
    autoStart: true,
    requires: [notebook.INotebookTracker],
    activate(_app, tracker) {
      addStyle();
      ownViews(tracker, packages);
      insertCells(tracker);
    },
  };
  return [engines, views].filter(Boolean);
}

function addStyle() {
  if (document.querySelector(`link[href="${STYLE}"]`)) return;
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = STYLE;
  document.head.append(link);
}
