// Light or dark: what the reader chose, or else what the system asks for.
const system = matchMedia("(prefers-color-scheme: dark)");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const themeListeners = [];

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : system.matches;
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  const button = byId("theme");
  button.textContent = isDark() ? "Light" : "Dark";
  button.setAttribute("aria-label", `Use ${isDark() ? "light" : "dark"} colours`);
  for (const tell of themeListeners) tell();
}

function startTheme() {
  let kept = null;
  try {
    kept = localStorage.getItem("dcpx-theme");
  } catch {
    // A browser that keeps nothing follows the system.
  }
  setTheme(kept === "light" || kept === "dark" ? kept : undefined);
  system.addEventListener("change", () => setTheme(document.documentElement.dataset.theme));
  byId("theme").addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    setTheme(theme);
    try {
      localStorage.setItem("dcpx-theme", theme);
    } catch {
      // The choice holds for this page then.
    }
  });
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Of a ratio: teal is what became small, rust what stayed as it was. White text is legible on each of them.
const SCALE = [
  [0.4, [13, 116, 110]],
  [0.6, [44, 104, 148]],
  [0.8, [96, 92, 152]],
  [1.0, [168, 76, 50]],
];

function ratioColour(ratio) {
  if (ratio === null) return "rgb(112, 117, 128)";
  const at = Math.min(Math.max(ratio, SCALE[0][0]), 1);
  const next = Math.max(SCALE.findIndex(([edge]) => edge >= at), 1);
  const [low, from] = SCALE[next - 1];
  const [high, to] = SCALE[next];
  const part = (at - low) / (high - low);
  return `rgb(${from.map((value, channel) => Math.round(value + part * (to[channel] - value))).join(", ")})`;
}
