// The live monitor of a generation or of an engine.

const ACK_MS = 1000;
// The server itself waits for an engine for 20 s.
const COMMAND_MS = 30_000;

// The server passes a command on to the engine, whatever its kernel is busy with. Resolves to
// nothing where it did, or to what stands against it; to null where nobody can.
async function commandServer({ pid, session } = {}, verb) {
  if (!pid) return null;
  const path = `engines/${encodeURIComponent(pid)}/generation/${verb}`;
  const body = JSON.stringify({ session });
  const answer = await askExtension(path, { method: "POST", body, ms: COMMAND_MS });
  if (!answer) return null;
  if (answer.ok) return "";
  const refused = await answer.json().catch(() => null);
  return refused?.message || `The server answers ${answer.status}.`;
}

function initialize({ model }) {
  model.send({ kind: "hello" });
}

// The parts of a monitor: all of them are there from the beginning, so that nothing jumps.
function buildMonitor() {
  const root = el("div", "fnb-widget fnb-live", {
    role: "group",
    "aria-label": "Fooocus progress",
    // Keys must not reach the notebook's shortcuts.
    "data-lm-suppress-shortcuts": "true",
  });
  const box = el("div", "fnb-live-box");
  const previewImage = el("img", "", { alt: "Preview", decoding: "sync" });
  previewImage.hidden = true;
  box.append(previewImage);
  const body = el("div", "fnb-live-body");
  const head = el("div", "fnb-live-head");
  const title = el("div", "fnb-live-title");
  const buttons = el("div", "fnb-live-buttons");
  const skip = button("", "Skip");
  const stop = button("fnb-live-stop", "Stop");
  buttons.append(skip, stop);
  head.append(title, buttons);
  const stages = el("ol", "fnb-live-stages", { "aria-label": "Stages" });
  const status = el("div", "fnb-live-status");
  const mark = el("span", "fnb-live-mark", { "aria-hidden": "true" });
  mark.textContent = "●";
  const stage = el("span", "", { role: "status" });
  const facts = el("span", "fnb-live-dim");
  status.append(mark, stage, facts);
  const row = el("div", "fnb-live-row");
  const track = el("div", "fnb-live-track", {
    role: "progressbar", "aria-label": "Progress", "aria-valuemin": "0", "aria-valuemax": "100",
  });
  const fill = el("div", "fnb-live-fill");
  track.append(fill);
  const percent = el("span", "fnb-live-percent");
  row.append(track, percent);
  const times = el("div", "fnb-live-dim");
  const line = el("div", "fnb-live-line");
  const note = el("div", "fnb-live-note", { role: "alert" });
  const strip = el("div", "fnb-live-strip", { role: "group", "aria-label": "Finished images" });
  const fold = el("details", "fnb-live-fold");
  const summary = el("summary", "");
  summary.textContent = "Log";
  const log = el("pre", "fnb-live-log", { tabindex: "0", "aria-label": "Last log lines" });
  fold.append(summary, log);
  body.append(head, stages, status, row, times, line, note, strip, fold);
  root.append(box, body);
  return {
    root, box, previewImage, title, buttons, skip, stop, stages, mark, stage, facts, row, track, fill,
    percent, times, line, note, strip, fold, log,
  };
}

function stageItem([title, state]) {
  const item = el("li", "", {}, title);
  item.dataset.state = state;
  if (state === "now") item.setAttribute("aria-current", "step");
  return item;
}

function render({ model, el: host }) {
  const {
    root, box, previewImage, title, buttons, skip, stop, stages, mark, stage, facts, row, track, fill,
    percent, times, line, note, strip, fold, log,
  } = buildMonitor();
  host.append(root);
  const preview = new ImageUrl(previewImage);
  const thumbnails = [];

  function drawView() {
    const view = model.get("view");
    title.textContent = view.title || "";
    title.title = view.title || "";
    // A live region is read aloud whenever it is written to, even with the same text.
    if (stage.textContent !== (view.stage || "")) stage.textContent = view.stage || "";
    mark.hidden = !view.mark;
    mark.dataset.mark = view.mark || "";
    stages.hidden = !view.stages?.length;
    stages.replaceChildren(...(view.stages || []).map(stageItem));
    facts.textContent = (view.facts || []).join("  ·  ");
    times.textContent = view.times || "";
    line.textContent = view.line || "";
    line.hidden = !!view.still && !view.line;
    const known = Number.isFinite(view.percent);
    track.classList.toggle("fnb-live-wait", !known && view.active);
    fill.style.width = known ? `${view.percent}%` : "";
    percent.textContent = known ? `${view.percent} %` : "";
    if (known) track.setAttribute("aria-valuenow", String(view.percent));
    else track.removeAttribute("aria-valuenow");
    box.hidden = !view.box;
    if (view.box) {
      box.style.width = `${view.box[0]}px`;
      box.style.height = `${view.box[1]}px`;
    }
    row.hidden = times.hidden = !!view.still;
    strip.hidden = !view.several;
    buttons.hidden = !view.active;
    drawControl();
    if (view.job !== drawView.job) {
      drawView.job = view.job;
      calm();
    }
  }

  function drawThumbnails() {
    const finished = model.get("thumbnails") || [];
    finished.forEach((data, index) => {
      if (!thumbnails[index]) {
        const image = el("img", "", { alt: `Finished image ${index + 1}` });
        thumbnails[index] = new ImageUrl(image);
        thumbnails[index].data = null;
        strip.append(image);
      }
      if (thumbnails[index].data !== data) {
        thumbnails[index].data = data;
        thumbnails[index].show(data);
      }
    });
    for (const extra of thumbnails.splice(finished.length)) {
      extra.show(null);
      extra.image.remove();
    }
  }

  function drawLog() {
    const following = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
    log.textContent = model.get("log") || "";
    if (following) log.scrollTop = log.scrollHeight;
  }

  let serverAnswers = false;
  function drawControl() {
    const control = model.get("control");
    const skippable = serverAnswers && Boolean(model.get("view").generation?.pid);
    skip.hidden = control === "interrupt" && !skippable;
    fold.hidden = control === "interrupt";
  }

  let asked = null; // what was pressed, and not answered yet
  let timer = 0;
  function calm() {
    asked = null;
    clearTimeout(timer);
    note.textContent = "";
    stop.disabled = skip.disabled = false;
    stop.textContent = "Stop";
  }

  async function interrupt() {
    stop.disabled = true;
    const { generation } = model.get("view"); // the one that is seen now: another may run later
    if (await interruptKernel(model.get("kernel_id"))) return;
    const refused = await commandServer(generation, "stop");
    if (refused === "") return;
    note.textContent = refused || "The kernel is busy: use the notebook's own stop button.";
    stop.disabled = false;
  }

  async function skipByServer() {
    skip.disabled = true;
    note.textContent = "";
    const refused = await commandServer(model.get("view").generation, "skip");
    skip.disabled = false;
    if (refused !== "") note.textContent = refused || "The kernel is busy and cannot skip.";
  }

  function ask(verb) {
    stop.disabled = verb === "stop";
    skip.disabled = true;
    const { job, generation } = model.get("view"); // those that are seen now: others may run later
    const pressed = { verb };
    asked = pressed;
    note.textContent = "";
    model.send({ kind: verb, job });
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const refused = await commandServer(generation, verb);
      if (asked !== pressed) return; // the kernel has taken it meanwhile, or another one is seen
      if (refused === "") {
        calm();
        if (verb === "stop") stop.disabled = skip.disabled = true;
        return;
      }
      skip.disabled = false;
      stop.disabled = false;
      note.textContent = "The kernel is busy with a cell and does not respond.";
      if (verb === "stop") stop.textContent = "Interrupt it";
    }, ACK_MS);
  }

  stop.addEventListener("click", () => {
    const busy = model.get("control") === "interrupt" || stop.textContent !== "Stop";
    if (busy) interrupt();
    else ask("stop");
  });
  skip.addEventListener("click", () => {
    if (model.get("control") === "interrupt") skipByServer();
    else ask("skip");
  });
  fold.addEventListener("toggle", () => model.send({ kind: "log", open: fold.open }));

  function onMessage(message) {
    if (message.kind === "took" && message.verb === asked?.verb) {
      calm();
      if (message.verb === "stop") stop.disabled = skip.disabled = true;
    } else if (message.kind === "refused") {
      calm();
      note.textContent = message.text;
    }
  }

  const drawPreview = () => preview.show(model.get("preview"));
  model.on("change:view", drawView);
  model.on("change:preview", drawPreview);
  model.on("change:thumbnails", drawThumbnails);
  model.on("change:log", drawLog);
  model.on("change:control", drawControl);
  model.on("msg:custom", onMessage);
  drawView();
  drawPreview();
  drawThumbnails();
  drawLog();
  drawControl();
  extensionAnswers().then((answers) => {
    serverAnswers = answers;
    drawControl();
  });
  return () => {
    clearTimeout(timer);
    preview.show(null);
    thumbnails.forEach((item) => item.show(null));
    model.off("change:view", drawView);
    model.off("change:preview", drawPreview);
    model.off("change:thumbnails", drawThumbnails);
    model.off("change:log", drawLog);
    model.off("change:control", drawControl);
    model.off("msg:custom", onMessage);
  };
}

export default { initialize, render: watched(render) };
