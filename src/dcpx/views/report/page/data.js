// What the checkpoint says, as views/report/content.py has put it: columns, and numbers in lists of texts.
const report = JSON.parse(document.getElementById("data").textContent);
const checkpoint = report.checkpoint;
const items = report.items;
const count = items.name.length;

const dtypeOf = (item) => items.dtypes[items.dtype[item]];
const shapeOf = (item) => items.shapes[items.shape[item]].replaceAll("x", " × ");
const codingOf = (item) => items.codings[items.coding[item]];
const isObject = (item) => dtypeOf(item) === "object";

function filesOf(item) {
  const numbers = items.files[item];
  return (Array.isArray(numbers) ? numbers : [numbers]).map((number) => items.file_names[number]);
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
