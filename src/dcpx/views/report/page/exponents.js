// How the floats of each dtype use their exponents, and how near what is stored comes to their entropy.
function drawExponents() {
  const found = report.exponents;
  if (found === null || found.dtypes.length === 0) return;
  byId("exponents-section").hidden = false;
  const share = found.share >= 1 ? "all of them" : `${percent(found.share)} of them, spread over the checkpoint`;
  byId("exponents-note").textContent =
    `What the exponents of the floating point numbers are, counted in ${share}. ` +
    "The floor is the size in which signs and mantissas stay as they are and exponents take their entropy within each tensor; " +
    "only a codec that finds more than that, such as what repeats itself, gets below it.";
  byId("exponents").append(...found.dtypes.map(histogram));
}

function histogram(of) {
  const box = element("div", { className: "chart histogram", role: "img" });
  box.setAttribute("aria-label", `Histogram of the exponents of ${of.dtype}`);
  chartIn(box, () => histogramOptions(of));
  const bar = (label, ratio, kind) => {
    const filled = element("i", { className: kind });
    filled.style.width = `${100 * Math.min(ratio, 1)}%`;
    return element(
      "div",
      { className: "size" },
      element("span", { textContent: label }),
      element("span", { className: "size-bar" }, filled),
      element("b", { textContent: `${bytes(ratio * of.raw)} · ${percent(ratio)}` }),
    );
  };
  const bits = element("p", { className: "note" });
  bits.textContent = `How many have which power of two. An exponent of ${of.exponent_bits} bits tells ${of.entropy.toFixed(2)} bits.`;
  return element(
    "article",
    {},
    element("h3", { textContent: of.dtype }),
    bits,
    box,
    bar("Raw", 1, "raw"),
    bar("Stored", of.ratio, "stored"),
    bar("Floor", of.floor, "floor"),
  );
}

function meaning(of, stored) {
  if (stored === 0) return "zero or subnormal";
  const highest = 2 ** of.exponent_bits - 1;
  // The small formats of one byte have no infinities, or share their highest exponent with numbers.
  if (stored === highest && !of.dtype.startsWith("float8_e4m3") && of.dtype !== "float8_e5m2fnuz") return "infinity or NaN";
  return `2^${stored - of.bias}`;
}

function histogramOptions(of) {
  const shares = of.counts.map((number) => number / of.elements);
  const labels = of.counts.map((_, number) => meaning(of, of.first + number));
  return {
    grid: { left: 4, right: 8, top: 12, bottom: 0, containLabel: true },
    tooltip: {
      ...tooltip(([hovered]) => [labels[hovered.dataIndex], [["Elements", whole.format(of.counts[hovered.dataIndex])], ["Share", percent(shares[hovered.dataIndex])]]]),
      trigger: "axis",
      axisPointer: { type: "shadow" },
    },
    xAxis: axis({ type: "category", data: labels.map((label) => (label.startsWith("2^") ? label.slice(2) : label[0] === "z" ? "0 " : "∞")) }),
    yAxis: axis({ type: "value", ...(Math.max(...of.counts) > 0.8 * of.elements ? { max: 1, interval: 0.25 } : { splitNumber: 3 }), axisLabel: { formatter: percentTicks([0, ...shares]) } }),
    series: [
      { type: "bar", color: colour("accent"), barCategoryGap: "12%", data: shares, itemStyle: { borderRadius: [2, 2, 0, 0] } },
    ],
  };
}
