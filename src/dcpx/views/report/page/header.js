// What the checkpoint is, where it came from, and its totals.
function drawHeader() {
  byId("kicker").textContent = checkpoint.kind === "dcpx" ? "dcpx checkpoint" : "DCP checkpoint";
  byId("path").textContent = checkpoint.path;

  const raw = sum(items.raw);
  const stored = sum(items.stored);
  const tensors = items.dtype.filter((_, item) => !isObject(item)).length;
  const total = (value, label, note) =>
    element(
      "div",
      { className: "total" },
      element("span", { textContent: label }),
      element("b", { textContent: value }),
      element("small", { textContent: note }),
    );
  const ratio = total(percent(ratioOf(raw, stored)), "Ratio", `${bytes(Math.abs(raw - stored))} ${stored > raw ? "more than raw" : "saved"}`);
  const filled = element("i");
  filled.style.width = `${100 * Math.min(ratioOf(raw, stored) ?? 0, 1)}%`;
  ratio.append(element("span", { className: "meter" }, filled));
  byId("totals").append(
    total(short(sum(items.numel)), "Elements", whole.format(sum(items.numel))),
    total(whole.format(tensors), "Tensors", `and ${plural(count - tensors, "object")}`),
    total(bytes(raw), "Raw", plural(raw, "byte")),
    total(bytes(stored), "Stored", `in ${plural(checkpoint.files, "file")}`),
    ratio,
  );

  const facts = [
    ["Saved", when(checkpoint.created)],
    ["World size", checkpoint.world_size],
    ["dcpx", checkpoint.dcpx],
    ["torch", checkpoint.torch],
    ["UUID", checkpoint.uuid],
  ];
  for (const [name, value] of facts) {
    if (value === null) continue;
    byId("facts").append(element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value })));
  }
  for (const [name, value] of checkpoint.user) {
    byId("user").append(element("span", { className: "chip" }, element("b", { textContent: name }), value));
  }
  byId("facts").parentElement.hidden = byId("facts").childElementCount + checkpoint.user.length === 0;
  drawProblems();
  byId("footer").textContent = `Made by dcpx ${report.version}. Charts by Apache ECharts ${echarts.version}. This page asks nothing of the network.`;
}

function when(created) {
  const time = created === null ? NaN : Date.parse(created);
  return Number.isNaN(time) ? created : new Date(time).toISOString().replace("T", " ").replace(/(\.\d+)?Z/, " UTC");
}

// Of several checkpoints each one's by itself.
function drawProblems() {
  const all = report.steps.length > 1 ? report.steps : [checkpoint];
  const total = sum(all.map((of) => of.problem_count));
  if (total === 0) return;
  byId("problems").append(element("h2", { textContent: `${plural(total, "problem")} found` }));
  for (const of of all) {
    if (of.problem_count === 0) continue;
    if (all.length > 1) byId("problems").append(element("h3", { textContent: of.path }));
    byId("problems").append(problemsOf(of));
  }
  byId("problems").hidden = false;
}

function problemsOf({ problems, problem_count }) {
  const list = element("ul", {}, ...problems.map((problem) => element("li", { textContent: problem })));
  const left = problem_count - problems.length;
  if (left > 0) list.append(element("li", { textContent: `and ${whole.format(left)} more` }));
  return list;
}
