// Raw beside stored bytes: of each dtype, and of each layer of a stack. Where there are many, stored is in front of raw.
const FEW = 30;

function drawBars() {
  const dtypes = totalsBy((item) => dtypeOf(item));
  const rows = [...dtypes].sort(([, one], [, other]) => one.raw - other.raw);
  byId("dtypes").setAttribute("aria-label", rows.map(([name, of]) => `${name}: ${describe(of)}`).reverse().join("; "));
  byId("dtypes").style.height = `${Math.max(260, 56 + 44 * rows.length)}px`;
  chartIn(byId("dtypes"), () => dtypeOptions(rows));
  drawLayers();
}

function totalsBy(key) {
  const found = new Map();
  for (let item = 0; item < count; item += 1) {
    const name = key(item);
    if (name === null) continue;
    if (!found.has(name)) found.set(name, { raw: 0, stored: 0 });
    const of = found.get(name);
    of.raw += items.raw[item];
    of.stored += items.stored[item];
  }
  return found;
}

const describe = ({ raw, stored }) => `raw ${bytes(raw)}, stored ${bytes(stored)}, ${percent(ratioOf(raw, stored))}`;

function rawAndStored(rows, width) {
  const label = { show: width !== undefined, position: "right", color: colour("quiet"), fontSize: 11 };
  return [
    { name: "Raw", type: "bar", color: colour("raw"), barMaxWidth: 16, data: rows.map(([, of]) => of.raw), itemStyle: { borderRadius: 2 } },
    {
      name: "Stored",
      type: "bar",
      color: colour("accent"),
      barMaxWidth: 16,
      barGap: rows.length > FEW ? "-100%" : "8%",
      data: rows.map(([, of]) => of.stored),
      itemStyle: { borderRadius: 2 },
      label: { ...label, formatter: ({ dataIndex }) => percent(ratioOf(rows[dataIndex][1].raw, rows[dataIndex][1].stored)) },
    },
  ];
}

function barTip(rows, title) {
  return {
    ...tooltip((hovered) => {
      const [name, of] = rows[hovered[0].dataIndex];
      return [title(name), [["Raw", bytes(of.raw)], ["Stored", bytes(of.stored)], ["Ratio", percent(ratioOf(of.raw, of.stored))]]];
    }),
    trigger: "axis",
    axisPointer: { type: "shadow" },
  };
}

function dtypeOptions(rows) {
  return {
    legend: legend(),
    grid: { left: 4, right: 56, top: 28, bottom: 0, containLabel: true },
    tooltip: barTip(rows, (name) => name),
    xAxis: axis({ type: "value", splitNumber: 3, axisLabel: { formatter: roundBytes } }),
    yAxis: axis({ type: "category", data: rows.map(([name]) => name), axisLabel: { color: colour("text"), fontSize: 12 } }),
    series: rawAndStored(rows, 1),
  };
}

// A layer is what the first number in a name counts: "model.layers" is the stack, 3 the layer in model.layers.3.weight.
function stacks() {
  const found = new Map();
  for (let item = 0; item < count; item += 1) {
    const layer = /^(.*?)\.(\d{1,9})(?:\.|$)/.exec(items.name[item]);
    const [stack, name] = layer ? [layer[1], Number(layer[2])] : [null, items.name[item].split(".", 2).join(".")];
    if (!found.has(stack)) found.set(stack, new Map());
    const layers = found.get(stack);
    if (!layers.has(name)) layers.set(name, { raw: 0, stored: 0 });
    layers.get(name).raw += items.raw[item];
    layers.get(name).stored += items.stored[item];
  }
  const size = (layers) => sum([...layers.values()].map((of) => of.raw));
  return [...found].sort(([one, first], [other, second]) => (one === null) - (other === null) || size(second) - size(first));
}

function drawLayers() {
  const found = stacks();
  const select = byId("stack");
  select.append(...found.map(([name, layers]) => element("option", { textContent: name === null ? "outside of layers" : `${name} (${layers.size})` })));
  select.hidden = found.length < 2;
  const rows = () => {
    const [name, layers] = found[Math.max(select.selectedIndex, 0)] ?? [null, new Map()];
    // Of things without a number the largest.
    return name === null
      ? [...layers].sort(([, one], [, other]) => other.raw - one.raw).slice(0, 60)
      : [...layers].sort(([one], [other]) => one - other);
  };
  const title = () => found[Math.max(select.selectedIndex, 0)]?.[0];
  const describeLayers = () => {
    const name = title();
    byId("layers-note").textContent = name ? `Raw and stored bytes of each layer of ${name}.` : "Raw and stored bytes.";
    byId("layers").setAttribute("aria-label", `${plural(rows().length, "layer")}: ${rows().slice(0, 8).map(([layer, of]) => `${layer}: ${describe(of)}`).join("; ")}`);
  };
  const chart = chartIn(byId("layers"), () => layerOptions(rows(), title()));
  select.addEventListener("change", () => {
    describeLayers();
    chart.redraw();
  });
  describeLayers();
}

function layerOptions(rows, stack) {
  return {
    legend: legend(),
    grid: { left: 4, right: 8, top: 28, bottom: 0, containLabel: true },
    tooltip: barTip(rows, (name) => (stack ? `${stack}.${name}` : name)),
    xAxis: axis({ type: "category", data: rows.map(([name]) => String(name)), axisLabel: { width: 90, overflow: "truncate" } }),
    yAxis: axis({ type: "value", splitNumber: 3, axisLabel: { formatter: roundBytes } }),
    series: rawAndStored(rows),
  };
}
