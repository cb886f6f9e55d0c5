// Numbers as people read them, and elements that hold text: nothing of a checkpoint is ever parsed as markup.
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const whole = new Intl.NumberFormat("en");

function bytes(value) {
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${UNITS[unit]}`;
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
const percent = (ratio) => (ratio === null ? "–" : `${(100 * ratio).toFixed(ratio < 0.0995 ? 2 : 1)} %`);
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

// For axes, whose numbers are round.
const roundBytes = (value) => bytes(value).replace(/\.0+ |(\.\d*?)0+ /, "$1 ");

const byId = (id) => document.getElementById(id);
