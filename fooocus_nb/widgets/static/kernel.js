// A view whose kernel has gone says so: nothing that it shows is true any more, and no button acts.

const RESTARTED = "The kernel was restarted; run this cell again.";
const ENDED = "The kernel has ended; run this cell again.";
const ABSENT = "No kernel stands behind this view; run this cell again.";
// JupyterLab tells its widgets only of a restart by hand. The kernel's connection, which its widget
// manager has, tells of the others: of one by another page only by the new kernel's own start.
// Frontends without that leave the view as it is.
const STATUSES = {
  restarting: RESTARTED, autorestarting: RESTARTED, starting: RESTARTED,
  dead: ENDED, terminating: ENDED,
};

// A view keeps its keys from the notebook's shortcuts; what saves the notebook still does. Where
// nobody takes it, it stays the browser's.
function handOn(event, host) {
  const { key, code, keyCode, ctrlKey, metaKey, altKey, shiftKey } = event;
  if (!event.isTrusted || key.toLowerCase() !== "s" || ctrlKey === metaKey || altKey || shiftKey) return;
  const again = new KeyboardEvent("keydown", {
    key, code, keyCode, ctrlKey, metaKey, bubbles: true, cancelable: true, composed: true,
  });
  if (host.parentElement?.dispatchEvent(again) === false) {
    event.preventDefault();
    event.stopPropagation();
  }
}

function watched(render) {
  return (context) => {
    const { model, el: host } = context;
    const end = render(context);
    const note = el("div", "fnb-lost-note", { role: "alert" });

    function lose(text) {
      if (note.isConnected) return; // the first cause is the right one
      note.textContent = text;
      for (const node of host.children) node.inert = true;
      host.classList.add("fnb-lost");
      host.prepend(note);
    }
    const isCut = () => host.classList.contains("jupyter-widgets-disconnected");
    const onLive = () => isCut() && lose(RESTARTED);
    const onStatus = (_kernel, status) => status in STATUSES && lose(STATUSES[status]);
    const onDisposed = () => lose(ENDED);

    const kernel = model.widget_manager?.kernel;
    const onKey = (event) => handOn(event, host);
    host.addEventListener("keydown", onKey, true);
    model.on("comm_live_update", onLive);
    kernel?.statusChanged?.connect(onStatus);
    kernel?.disposed?.connect(onDisposed);
    if (isCut()) lose(ABSENT);
    return () => {
      host.removeEventListener("keydown", onKey, true);
      model.off("comm_live_update", onLive);
      kernel?.statusChanged?.disconnect(onStatus);
      kernel?.disposed?.disconnect(onDisposed);
      end?.();
    };
  };
}
