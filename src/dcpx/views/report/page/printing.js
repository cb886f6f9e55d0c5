// On paper: light, every chart, and the first rows of the table as it is filtered.
const PRINTED = 200;

function startPrinting() {
  let before;
  addEventListener("beforeprint", () => {
    before = document.documentElement.dataset.theme;
    for (const { box } of charts) drawn(box);
    printing = PRINTED;
    setTheme("light");
    drawRows();
    if (shown.length > PRINTED) byId("found").append(` · the first ${PRINTED} are printed`);
  });
  addEventListener("afterprint", () => {
    printing = 0;
    setTheme(before);
    for (const { chart } of charts) chart.resize();
    filter();
  });
}
