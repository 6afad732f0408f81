// The engine's own page, in a frame that cannot act as the user. It comes by the Jupyter server.

const SANDBOX = "allow-scripts allow-forms allow-popups allow-downloads allow-modals";
const NO_EXTENSION =
  "The page comes by the Jupyter server, and this one does not have the extension: install " +
  "fooocus-nb[ui] in the environment that Jupyter runs in, and start it again.";

// Why there is no page; an empty text where there is one.
async function whyNot() {
  if (!pageConfig()) return "Only JupyterLab and Notebook 7 can show the page in a notebook.";
  const answer = await askStatus();
  if (!answer) return "The Jupyter server does not answer.";
  const status = answer.ok ? await answer.json().catch(() => null) : null;
  return status?.page ? "" : status?.reason || NO_EXTENSION;
}

function render({ model, el: host }) {
  const name = model.get("name");
  const address = `${pageConfig()?.baseUrl || "/"}fooocus-nb/ui/${encodeURIComponent(name)}/`;
  const box = el("div", "fnb-widget fnb-page", { role: "group", "aria-label": `The page of ${name}` });
  const bar = el("div", "fnb-page-bar");
  const title = el("span", "fnb-page-title", {}, name);
  const again = button("", "Reload", "Load the page again");
  const tab = button("", "Open in a tab", "Open the page in a tab of JupyterLab");
  const link = el(
    "a", "fnb-page-link",
    { href: address, target: "_blank", rel: "noopener noreferrer" }, "Open in the browser",
  );
  const frame = el("iframe", "fnb-page-frame", {
    title: `The page of ${name}`, sandbox: SANDBOX, referrerpolicy: "no-referrer",
    allow: "clipboard-write; fullscreen",
  });
  const note = el("div", "fnb-page-note", { role: "status" });
  // Only where the extension is, and in JupyterLab, does anybody open a tab.
  const canOpenTab = () => "fooocus-nb" in (window._JUPYTERLAB ?? {});

  async function load() {
    note.textContent = "Asking the Jupyter server ...";
    const why = await whyNot();
    note.textContent = why;
    note.hidden = !why;
    frame.hidden = link.hidden = again.hidden = Boolean(why);
    tab.hidden = Boolean(why) || !canOpenTab();
    if (!why) frame.src = address;
  }

  again.addEventListener("click", load);
  tab.addEventListener("click", () => {
    const asked = new CustomEvent("fooocus-nb:open-page", { cancelable: true, detail: { name } });
    // Nobody has prevented the default: then the browser's own tab is what there is.
    if (document.dispatchEvent(asked)) link.click();
  });
  frame.style.height = `${model.get("height")}px`;
  bar.append(title, again, tab, link);
  box.append(bar, note, frame);
  host.append(box);
  load();
  return () => box.remove();
}

export default { render: watched(render) };
