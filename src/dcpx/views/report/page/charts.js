// Charts are drawn when they come near the window, anew in other colours, and fit their box.
const charts = [];
// How many rows of the table are being printed; 0 while the page is on a screen.
let printing = 0;
const nearby = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => drawn(entry.target)),
  { rootMargin: "400px" },
);
const resized = new ResizeObserver((entries) => {
  if (printing) return; // what is drawn is scaled to the paper
  for (const entry of entries) charts.find((one) => one.box === entry.target).chart.resize();
});

// `options` is called for what to draw each time; `begin` once, with the chart.
function chartIn(box, options, begin = () => {}) {
  const one = { box, options, begin, chart: null };
  charts.push(one);
  nearby.observe(box);
  return { redraw: () => one.chart && draw(one), now: () => drawn(box), element: box };
}

function drawn(box) {
  const one = charts.find((other) => other.box === box);
  nearby.unobserve(box);
  if (one.chart !== null) return;
  one.chart = echarts.init(box, null, { renderer: "canvas" });
  one.begin(one.chart);
  draw(one);
  resized.observe(box);
}

function draw(one) {
  const common = {
    animation: !calm.matches && !printing,
    animationDuration: 250,
    animationDurationUpdate: 250,
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: colour("text") },
  };
  one.chart.setOption({ ...common, ...one.options() }, { notMerge: true });
}

function redrawAll() {
  for (const one of charts) if (one.chart !== null) draw(one);
}

// A tooltip of nodes, so that no name is parsed: a title, and rows of a label with its value.
function tooltip(formatter) {
  return {
    confine: true,
    backgroundColor: colour("card"),
    borderColor: colour("line"),
    padding: 0,
    formatter: (hovered) => {
      const [title, rows] = formatter(hovered);
      const cells = rows.map(([label, value]) => element("p", {}, element("span", { textContent: label }), element("b", { textContent: value })));
      return element("div", { className: "tip" }, element("strong", { textContent: title }), ...cells);
    },
  };
}

function axis(more = {}) {
  return {
    axisLine: { lineStyle: { color: colour("line") } },
    axisTick: { show: false },
    splitLine: { lineStyle: { color: colour("grid") } },
    ...more,
    axisLabel: { color: colour("quiet"), fontSize: 11, hideOverlap: true, ...more.axisLabel },
  };
}

function legend() {
  return { top: 0, right: 0, itemWidth: 10, itemHeight: 10, icon: "roundRect", textStyle: { color: colour("quiet") } };
}
