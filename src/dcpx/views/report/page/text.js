// Numbers as people read them, and elements that hold text: nothing of a checkpoint is ever parsed as markup.
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const whole = new Intl.NumberFormat("en");

function bytes(value) {
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : value.toPrecision(3)} ${UNITS[unit]}`;
}

function short(value) {
  const names = ["", " k", " M", " B", " T"];
  let name = 0;
  while (value >= 999.5 && name < names.length - 1) {
    value /= 1000;
    name += 1;
  }
  return `${name === 0 ? value : value.toPrecision(3)}${names[name]}`;
}

// What has no raw bytes, such as an empty tensor, has no ratio either.
const ratioOf = (raw, stored) => (raw > 0 ? stored / raw : null);
function percent(ratio) {
  if (ratio === null) return "–";
  if (ratio > 0 && ratio < 0.0005) return `${(100 * ratio).toPrecision(2)} %`;
  return `${(100 * ratio).toFixed(ratio < 0.0995 ? 2 : 1)} %`;
}
const plural = (number, word) => `${whole.format(number)} ${word}${number === 1 ? "" : "s"}`;

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("aria-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// For axes, whose values lie in this range: with so many digits that no two ticks are the same.
function percentTicks(values) {
  const digits = Math.max(-lastDigit(values.map((value) => 100 * value)), 0);
  return (ratio) => `${(100 * ratio).toFixed(digits)} %`;
}

function numberTicks(values) {
  const last = lastDigit(values);
  const first = Math.floor(Math.log10(Math.max(...values.map(Math.abs)) || 1));
  if (first > 6 || last < -5) return (value) => value.toExponential(Math.max(first - last, 0));
  const digits = Math.max(-last, 0);
  const format = new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return (value) => format.format(value);
}

// The power of ten in which neighbouring ticks differ, of which there are a few.
function lastDigit(values) {
  const lowest = Math.min(...values);
  const range = Math.max(...values) - lowest || Math.abs(lowest) || 1;
  return Math.max(Math.floor(Math.log10(range)) - 1, -18);
}

// For axes of bytes, whose numbers are round.
const roundBytes = (value) => bytes(value).replace(/\.0+ |(\.\d*?)0+ /, "$1 ");

const byId = (id) => document.getElementById(id);
