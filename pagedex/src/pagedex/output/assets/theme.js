// Before anything is drawn, so that a page doesn't flash in the other colours.
"use strict";
(() => {
  // What only works with scripts is shown by one.
  document.documentElement.classList.remove("plain");
  let chosen = null;
  try {
    chosen = localStorage.getItem("pagedex-theme");
  } catch {
    // A browser that keeps nothing follows the system.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
