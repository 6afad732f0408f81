// An engine's own web page in a tab.

// The same as in the answers' own policy: what is in the frame must not act as the user.
export const SANDBOX = "allow-scripts allow-forms allow-popups allow-downloads allow-modals";

export function pagePanel({ widgets }, list, name) {
  const panel = new widgets.Widget();
  panel.addClass("fnb-page-panel");
  panel.title.label = name;
  const frame = document.createElement("iframe");
  frame.title = `The page of ${name}`;
  frame.setAttribute("sandbox", SANDBOX);
  frame.referrerPolicy = "no-referrer";
  frame.allow = "clipboard-write; fullscreen";
  frame.src = list.page(name);
  panel.node.append(frame);
  return panel;
}
