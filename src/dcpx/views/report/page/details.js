// All that is known of one item.
function showDetails(item) {
  const raw = items.raw[item];
  const stored = items.stored[item];
  const files = filesOf(item);
  const facts = [
    ["Type", dtypeOf(item)],
    ["Shape", shapeOf(item) || null],
    ["Elements", isObject(item) ? null : whole.format(items.numel[item])],
    ["Raw", `${bytes(raw)} (${plural(raw, "byte")})`],
    ["Stored", `${bytes(stored)} (${plural(stored, "byte")})`],
    ["Ratio", percent(ratioOf(raw, stored))],
    ["Coding", codingOf(item)],
    [files.length > 1 ? `Files (${whole.format(files.length)})` : "File", files.slice(0, 50).join("\n") + (files.length > 50 ? "\n…" : "")],
  ];
  const list = element("dl");
  for (const [name, value] of facts) {
    if (value !== null) list.append(element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value })));
  }
  const dialog = byId("details");
  const close = element("button", { type: "button", className: "quiet-button", textContent: "Close", onclick: () => dialog.close() });
  dialog.replaceChildren(element("h2", { id: "details-title", textContent: items.name[item] }), list, close);
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  dialog.showModal();
}
