// Dialogs that cover the page, and tables of values in them.

// A dialog returns the focus when it closes.
function dialog(className, label, root) {
  const box = el("dialog", `fnb-widget ${className}`, {
    "aria-label": label, "data-lm-suppress-shortcuts": "true",
  });
  root.append(box);
  let before = null;
  box.addEventListener("close", () => before?.focus?.({ preventScroll: true }));
  box.addEventListener("click", (event) => {
    if (event.target === box) box.close();
  });
  // Keys must not reach the notebook while the dialog is open.
  box.addEventListener("keydown", (event) => event.stopPropagation());
  return {
    box,
    show() {
      if (box.open) return;
      before = document.activeElement;
      box.showModal();
    },
  };
}

function table(rows) {
  const body = el("tbody");
  for (const [name, ...values] of rows) {
    const row = el("tr");
    const head = el("th", "", { scope: "row" });
    // A long name may break behind an underscore, and nowhere else.
    name.split(/(?<=_)/).forEach((part, index) => head.append(...(index ? [el("wbr"), part] : [part])));
    row.append(head, ...values.map((value) => el("td", "", {}, value)));
    body.append(row);
  }
  const whole = el("table", "fnb-box-table");
  whole.append(body);
  return whole;
}
