// Inserts a cell below the one in which a view is: a view has no other way to its notebook. The cell
// is not run, and the view keeps the focus: it goes on taking keys. Where no notebook has the view,
// such as in a tab of its own, the view copies instead.

const INSERT = "fooocus-nb:insert-cell";

export function insertCells(tracker) {
  document.addEventListener(INSERT, (event) => {
    const { node, text } = event.detail ?? {};
    if (typeof text !== "string" || !(node instanceof Node)) return;
    const panel = tracker.find(({ node: own }) => own.contains(node));
    const notebook = panel?.content;
    const index = notebook?.widgets.findIndex((cell) => cell.node.contains(node)) ?? -1;
    if (index < 0 || panel.context.model.readOnly) return;
    notebook.model.sharedModel.insertCell(index + 1, {
      cell_type: "code", source: text, metadata: { trusted: true },
    });
    event.preventDefault(); // which says that somebody did it
  });
}
