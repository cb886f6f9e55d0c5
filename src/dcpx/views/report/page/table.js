// All items: only the rows that are in sight are in the document, however many there are.
const collator = new Intl.Collator("en", { numeric: true });
const COLUMNS = [
  { name: "Name", order: (one, other) => collator.compare(items.name[one], items.name[other]) },
  { name: "Type", order: (one, other) => collator.compare(dtypeOf(one), dtypeOf(other)) },
  { name: "Shape", order: (one, other) => items.numel[one] - items.numel[other] },
  { name: "Raw", order: (one, other) => items.raw[one] - items.raw[other], number: true },
  { name: "Stored", order: (one, other) => items.stored[one] - items.stored[other], number: true },
  { name: "Ratio", order: (one, other) => (itemRatio(one) ?? -1) - (itemRatio(other) ?? -1), number: true },
  { name: "Coding", order: (one, other) => collator.compare(codingOf(one), codingOf(other)) },
  { name: "Files", order: (one, other) => collator.compare(filesOf(one)[0] ?? "", filesOf(other)[0] ?? "") },
];
const itemRatio = (item) => ratioOf(items.raw[item], items.stored[item]);
const MARGIN = 8;

const grid = byId("grid");
const head = element("div", { className: "row head", role: "row" });
const body = element("div", { className: "rows", role: "rowgroup" });
let shown = Array.from({ length: count }, (_, item) => item);
let sorted = shown;
let sorting = { column: null, down: false };
let active = -1;

function drawTable() {
  grid.append(head, body);
  head.setAttribute("aria-rowindex", 1);
  head.append(...COLUMNS.map(headOf));
  byId("only").append(element("option", { textContent: "All types", value: "" }), ...items.dtypes.map((dtype) => element("option", { textContent: dtype, value: dtype })));
  byId("search").addEventListener("input", filter);
  byId("only").addEventListener("change", filter);
  grid.addEventListener("scroll", () => requestAnimationFrame(drawRows), { passive: true });
  grid.addEventListener("keydown", onKey);
  body.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row) choose(Number(row.dataset.at), true);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || /INPUT|SELECT|TEXTAREA/.test(document.activeElement?.tagName ?? "")) return;
    event.preventDefault();
    byId("search").focus();
  });
  new ResizeObserver(drawRows).observe(grid);
  filter();
}

function headOf(column, number) {
  const button = element("button", { type: "button", textContent: column.name, onclick: () => sortBy(number) });
  return element("div", { role: "columnheader", className: column.number ? "number" : "", "aria-sort": "none" }, button);
}

// Numbers are sorted the largest first, what is text from A on; once more turns it.
function sortBy(number) {
  const first = COLUMNS[number].number || COLUMNS[number].name === "Shape";
  sorting = { column: number, down: sorting.column === number ? !sorting.down : first };
  const { order } = COLUMNS[number];
  const turn = sorting.down ? -1 : 1;
  sorted = Array.from({ length: count }, (_, item) => item).sort((one, other) => turn * order(one, other) || one - other);
  [...head.children].forEach((cell, at) => cell.setAttribute("aria-sort", at !== number ? "none" : sorting.down ? "descending" : "ascending"));
  filter();
}

function filter() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const only = byId("only").value;
  shown = sorted.filter((item) => (only === "" || dtypeOf(item) === only) && isFound(item, words));
  const raw = sum(shown.map((item) => items.raw[item]));
  const stored = sum(shown.map((item) => items.stored[item]));
  const of = shown.length === count ? plural(count, "item") : `${whole.format(shown.length)} of ${plural(count, "item")}`;
  byId("found").textContent = `${of} · ${bytes(raw)} raw · ${bytes(stored)} stored · ${percent(ratioOf(raw, stored))}`;
  grid.setAttribute("aria-rowcount", shown.length + 1);
  active = -1;
  grid.removeAttribute("aria-activedescendant");
  grid.scrollTop = 0;
  drawRows();
}

function isFound(item, words) {
  if (words.length === 0) return true;
  const text = items.name[item].toLowerCase();
  return words.every((word) => text.includes(word));
}

const rowHeight = () => parseFloat(getComputedStyle(grid).getPropertyValue("--row"));

function drawRows() {
  const height = rowHeight();
  const first = printing ? 0 : Math.max(Math.floor(grid.scrollTop / height) - MARGIN, 0);
  const last = Math.min(printing || Math.ceil((grid.scrollTop + grid.clientHeight) / height) + MARGIN, shown.length);
  body.style.height = printing ? "auto" : `${shown.length * height}px`;
  const rows = [];
  for (let at = first; at < last; at += 1) rows.push(rowOf(at, height));
  if (shown.length === 0) rows.push(element("p", { className: "nothing", textContent: "Nothing is called that." }));
  body.replaceChildren(...rows);
}

function rowOf(at, height) {
  const item = shown[at];
  const ratio = itemRatio(item);
  const cell = (text, className = "") => element("div", { role: "gridcell", className, textContent: text, title: text });
  const name = cell("", "name");
  name.title = items.name[item];
  name.append(parted(items.name[item]));
  // The shape once more, for where there is no room for a column of it.
  const type = cell(dtypeOf(item), "type");
  type.append(element("small", { textContent: shapeOf(item) }));
  const share = cell(percent(ratio), "number ratio");
  const mark = element("i");
  mark.style.background = ratioColour(isObject(item) ? null : ratio);
  share.prepend(mark);
  const files = filesOf(item);
  const row = element(
    "div",
    { className: at === active ? "row active" : "row", role: "row", id: `row-${at}`, "aria-rowindex": at + 2, "aria-selected": at === active },
    name,
    type,
    cell(shapeOf(item)),
    cell(bytes(items.raw[item]), "number"),
    cell(bytes(items.stored[item]), "number"),
    share,
    cell(codingOf(item)),
    cell(files.length === 1 ? ending(files[0]) : plural(files.length, "file")),
  );
  row.dataset.at = at;
  if (!printing) row.style.transform = `translateY(${at * height}px)`;
  return row;
}

// A name whose end stays in sight where there is no room for all of it: it says more than the middle.
function parted(name) {
  const words = name.split(".");
  const last = words.slice(-2).join(".");
  const end = last.length <= 24 ? last : name.slice(-20);
  return element("span", {}, element("i", { textContent: name.slice(0, name.length - end.length) }), element("i", { textContent: end }));
}

const ending = (file) => (file.length > 16 ? `…${file.slice(-12)}` : file);

function choose(at, open) {
  active = Math.min(Math.max(at, 0), shown.length - 1);
  if (active < 0) return;
  const height = rowHeight();
  const top = active * height;
  const room = grid.clientHeight - head.offsetHeight;
  if (top < grid.scrollTop) grid.scrollTop = top;
  else if (top + height > grid.scrollTop + room) grid.scrollTop = top + height - room;
  drawRows();
  grid.setAttribute("aria-activedescendant", `row-${active}`);
  if (open) showDetails(shown[active]);
}

function onKey(event) {
  if (event.target !== grid) return;
  const page = Math.max(Math.floor(grid.clientHeight / rowHeight()) - 2, 1);
  const moves = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0, End: shown.length - 1 };
  if (event.key in moves) choose(moves[event.key], false);
  else if (event.key === "Enter" && active >= 0) choose(active, true);
  else return;
  event.preventDefault();
}
