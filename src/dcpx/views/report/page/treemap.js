// The treemap, the way to where it is, and the list of the same parts for those who use keys or a small screen.
const MOST = 150;
const DEEPEST = 6;
const LEAST_AREA = 2400;
let here = null;
let map = null;
// What the tiles stand for, by their number: ECharts copies the data that it is given, and a module leads to all others.
let tiled = [];

function drawTreemap() {
  here = grow();
  while (here.children.size === 1) [here] = here.children.values();
  map = chartIn(byId("treemap"), treemapOptions, (chart) => {
    chart.on("click", ({ data }) => tiled[data?.tile] && enter(tiled[data.tile]));
    const ready = () => {
      chart.off("rendered", ready);
      performance.mark("first chart");
    };
    chart.on("rendered", ready);
  });
  themeListeners.push(drawRatioLegend);
  drawRatioLegend();
  listParts();
  map.now();
  // Out of a module again, wherever in the section the focus is.
  map.element.closest("section").addEventListener("keydown", (event) => {
    if ((event.key === "Escape" || event.key === "Backspace") && here.above !== null) {
      event.preventDefault();
      enter(here.above);
    }
  });
}

function enter(node) {
  if (node.item !== null && node.children.size === 0) return showDetails(node.item);
  const inList = byId("children").contains(document.activeElement) || byId("crumbs").contains(document.activeElement);
  here = node;
  map.redraw();
  listParts();
  if (inList) (byId("children").querySelector("button") ?? byId("crumbs").querySelector("button"))?.focus();
}

function treemapOptions() {
  const gap = colour("card");
  tiled = [];
  return {
    tooltip: tooltip(({ data, name }) => [tiled[data?.tile]?.name ?? name, partRows(data)]),
    series: [
      {
        type: "treemap",
        roam: false,
        nodeClick: false,
        // From one module to another no tile stays what it was.
        animation: false,
        breadcrumb: { show: false },
        left: 0,
        right: 0,
        top: 0,
        bottom: 0,
        data: tiles(here, depthOf(here)),
        label: { fontSize: 12, color: "#fff", overflow: "truncate", formatter: ({ data, name }) => `${name}\n${bytes(data?.value ?? 0)}`, lineHeight: 16 },
        upperLabel: { show: true, height: 22, padding: [0, 6], formatter: ({ name }) => name, color: colour("text"), fontSize: 12, fontWeight: 600, overflow: "truncate" },
        itemStyle: { borderColor: gap, borderWidth: 0, gapWidth: 2 },
        emphasis: { upperLabel: { show: true, color: colour("text") }, itemStyle: { borderColor: colour("accent") } },
        levels: [
          { itemStyle: { borderColor: gap, borderWidth: 0, gapWidth: 4 }, upperLabel: { show: false } },
          ...["tile", "line", "tile", "line", "tile", "line"].map((tone) => ({ itemStyle: { borderColor: colour(tone), borderWidth: 2, gapWidth: 2 } })),
        ],
      },
    ],
  };
}

// As deep as there is room for tiles that can be told apart.
function depthOf(node) {
  const { clientWidth, clientHeight } = byId("treemap");
  const room = (clientWidth * clientHeight) / LEAST_AREA;
  const deepest = clientWidth < 500 ? 3 : DEEPEST;
  let level = [node];
  for (let depth = 1; depth <= deepest; depth += 1) {
    level = level.flatMap((one) => (one.children.size > 0 ? one.parts.slice(0, MOST) : [one]));
    if (level.length > room) return Math.max(depth - 1, 1);
  }
  return deepest;
}

// The parts of a module as ECharts takes them, as deep as that; the many smallest are one tile.
function tiles(node, depth) {
  if (depth === 0) return undefined;
  const shown = node.parts.slice(0, MOST).filter((part) => part.raw > 0);
  const made = shown.map((part) => ({
    name: part.label,
    value: part.raw,
    tile: tiled.push(part) - 1,
    children: tiles(part, depth - 1),
    itemStyle: { color: ratioColour(part.item !== null && isObject(part.item) ? null : part.ratio) },
  }));
  const rest = node.parts.slice(MOST);
  if (rest.length > 0) {
    const [raw, stored] = [sum(rest.map((part) => part.raw)), sum(rest.map((part) => part.stored))];
    made.push({ name: `${whole.format(rest.length)} more`, value: raw, stored, itemStyle: { color: ratioColour(ratioOf(raw, stored)) } });
  }
  return made.length > 0 ? made : undefined;
}

function partRows(data) {
  if (!data) return [];
  const node = tiled[data.tile];
  const stored = node?.stored ?? data.stored;
  const rows = [
    ["Raw", bytes(data.value)],
    ["Stored", bytes(stored)],
    ["Ratio", percent(ratioOf(data.value, stored))],
  ];
  if (node?.children.size > 0) rows.push(["Items", whole.format(node.leaves)]);
  else if (node) rows.push([dtypeOf(node.item), shapeOf(node.item)]);
  return rows;
}

function listParts() {
  byId("crumbs").replaceChildren(
    ...here.path.map((node, depth, path) => {
      const last = depth === path.length - 1;
      const button = element("button", { type: "button", textContent: node.label, disabled: last, onclick: () => enter(node) });
      if (last) button.setAttribute("aria-current", "true");
      return element("li", {}, button);
    }),
  );
  const shown = here.parts.slice(0, MOST);
  byId("children").replaceChildren(...shown.map(part));
  const left = here.parts.length - shown.length;
  if (left > 0) byId("children").append(element("li", { className: "more", textContent: `and ${whole.format(left)} more, in the table below` }));
}

function part(node) {
  const box = element("i");
  box.style.background = ratioColour(node.item !== null && isObject(node.item) ? null : node.ratio);
  box.style.width = `${Math.max((100 * node.raw) / (here.raw || 1), 0.5)}%`;
  const button = element(
    "button",
    { type: "button", title: node.name, onclick: () => enter(node) },
    element("span", { className: "part-name", textContent: node.label }),
    element("span", { className: "part-size", textContent: `${bytes(node.raw)} · ${percent(node.ratio)}` }),
    element("span", { className: "part-bar" }, box),
  );
  return element("li", {}, button);
}

function drawRatioLegend() {
  const steps = [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1];
  const bar = element("span", { className: "scale", "aria-hidden": "true" });
  bar.style.background = `linear-gradient(to right, ${steps.map(ratioColour).join(", ")})`;
  byId("ratio-legend").replaceChildren("≤ 40 %", bar, "100 % stored");
}
