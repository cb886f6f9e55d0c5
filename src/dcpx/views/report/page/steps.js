// Several checkpoints beside one another, over their steps.
function drawSteps() {
  const steps = report.steps;
  if (steps.length < 2) return;
  byId("steps-section").hidden = false;
  byId("steps-note").textContent = `${steps.length} checkpoints; what is above and below is of the last one, step ${stepName(steps.at(-1).step)}.`;
  const ratio = (step) => ratioOf(step.raw, step.stored);
  const lines = [
    ["Size", [["Raw", "raw", (step) => step.raw], ["Stored", "accent", (step) => step.stored]], bytes, () => roundBytes, 0],
    ["Ratio", [["Ratio", "accent", ratio]], percent, percentTicks, null],
    ["Norm", [["Norm", "accent", (step) => step.norm]], (value) => value.toPrecision(6), numberTicks, null],
    ["Changed elements", [["Changed", "accent", (step) => step.changed]], percent, percentTicks, 0],
  ];
  for (const [title, series, format, ticks, least] of lines) {
    const known = series.filter(([, , value]) => steps.some((step) => value(step) !== null));
    if (known.length === 0) continue;
    const box = element("div", { className: "chart line", role: "img" });
    box.setAttribute("aria-label", `${title} over the steps; the table below has the numbers`);
    chartIn(box, () => lineOptions(steps, known, format, ticks, least));
    byId("steps").append(element("article", {}, element("h3", { textContent: title }), box));
  }
  stepsTable(steps);
}

const stepName = (step) => (Number.isInteger(step) ? whole.format(step) : String(step));

function lineOptions(steps, series, format, ticks, least) {
  const values = steps.flatMap((step) => series.map(([, , value]) => value(step))).filter((value) => value !== null);
  const inWhole = steps.every(({ step }) => Number.isInteger(step));
  return {
    legend: { ...legend(), show: series.length > 1 },
    grid: { left: 4, right: 16, top: 28, bottom: 0, containLabel: true },
    tooltip: {
      ...tooltip((hovered) => [`Step ${stepName(hovered[0].value[0])}`, hovered.filter(({ value }) => value[1] !== null).map(({ seriesName, value }) => [seriesName, format(value[1])])]),
      trigger: "axis",
    },
    xAxis: axis({ type: "value", scale: true, min: "dataMin", max: "dataMax", minInterval: inWhole ? 1 : 0, splitLine: { show: false }, axisLabel: { formatter: stepName } }),
    yAxis: axis({ type: "value", splitNumber: 3, scale: least === null, min: least ?? undefined, axisLabel: { formatter: ticks(least === null ? values : [least, ...values]) } }),
    series: series.map(([name, tone, value]) => ({
      name,
      type: "line",
      color: colour(tone),
      symbol: "circle",
      symbolSize: 7,
      showSymbol: steps.length <= 60,
      lineStyle: { width: 2.5 },
      data: steps.map((step) => [step.step, value(step)]),
    })),
  };
}

function stepsTable(steps) {
  const columns = [
    ["Step", (step) => stepName(step.step)],
    ["Checkpoint", (step) => step.path],
    ["Raw", (step) => bytes(step.raw)],
    ["Stored", (step) => bytes(step.stored)],
    ["Ratio", (step) => percent(ratioOf(step.raw, step.stored))],
  ];
  if (steps.some((step) => step.norm !== null)) columns.push(["Norm", (step) => step.norm?.toPrecision(6) ?? "–"]);
  if (steps.some((step) => step.changed !== null)) columns.push(["Changed", (step) => percent(step.changed)]);
  const row = (kind, texts) => element("tr", {}, ...texts.map((textContent) => element(kind, { textContent })));
  byId("steps-table").append(
    element("thead", {}, row("th", columns.map(([name]) => name))),
    element("tbody", {}, ...steps.map((step) => row("td", columns.map(([, text]) => text(step))))),
  );
}
