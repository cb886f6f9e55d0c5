// What a page does: search, light and dark, keys. Without it every page and link still works.
"use strict";
(() => {
  const script = document.currentScript;
  const root = script.dataset.root || "";
  const input = document.getElementById("search");
  const list = document.getElementById("hits");
  const button = document.getElementById("theme");

  if (button) {
    button.addEventListener("click", () => {
      const set = document.documentElement.dataset;
      const dark = set.theme ? set.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      set.theme = dark ? "light" : "dark";
      try {
        localStorage.setItem("pagedex-theme", set.theme);
      } catch {
        // It holds for this page then.
      }
    });
  }
  if (matchMedia("(max-width: 52rem)").matches) document.querySelector(".side details")?.removeAttribute("open");
  if (!input || !list) return;

  // The index is fetched when somebody begins to search, by script tags: those work from a disk as well.
  let loading = null;
  const load = (name) =>
    new Promise((resolve, reject) => {
      const tag = document.createElement("script");
      tag.src = `${root}_pagedex/${name}`;
      tag.onload = resolve;
      tag.onerror = () => reject(new Error(`${name} can't be loaded`));
      document.head.append(tag);
    });
  const ready = () => {
    loading ??= load("search.js").then(() => pagedexSearch.load(load, () => show()));
    return loading;
  };

  let hits = [];
  let chosen = -1;
  const choose = (index) => {
    chosen = index;
    [...list.querySelectorAll("a")].forEach((one, at) => {
      one.setAttribute("aria-selected", String(at === chosen));
      if (at === chosen) {
        one.scrollIntoView({ block: "nearest" });
        input.setAttribute("aria-activedescendant", one.id);
      }
    });
    if (chosen < 0) input.removeAttribute("aria-activedescendant");
  };
  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
  };
  const row = (hit, index) => {
    const link = document.createElement("a");
    link.href = root + hit.address;
    link.id = `hit-${index}`;
    link.setAttribute("role", "option");
    link.tabIndex = -1;
    const title = document.createElement("b");
    title.textContent = hit.title;
    const where = document.createElement("span");
    where.textContent = [hit.kind, hit.where].filter(Boolean).join(" · ");
    link.append(title, where);
    link.addEventListener("click", close);
    return link;
  };
  const show = () => {
    const query = input.value.trim();
    if (!query) return close();
    hits = pagedexSearch.search(query, 30);
    list.replaceChildren(...hits.map(row));
    if (!hits.length) {
      const none = document.createElement("p");
      none.textContent = `Nothing found for “${query}”`;
      list.append(none);
    }
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    choose(hits.length ? 0 : -1);
  };
  const search = () => ready().then(show, (error) => {
    const failed = document.createElement("p");
    failed.textContent = error.message;
    list.replaceChildren(failed);
    list.hidden = false;
  });

  input.addEventListener("focus", () => ready().catch(() => {}));
  input.addEventListener("input", search);
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && hits.length) {
      choose((chosen + step + hits.length) % hits.length);
      event.preventDefault();
    } else if (event.key === "Enter" && hits[chosen]) {
      event.preventDefault();
      close();
      location.href = root + hits[chosen].address;
    } else if (event.key === "Escape") {
      close();
      input.blur();
    }
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(input|textarea|select)$/i.test(event.target.tagName) || event.target.isContentEditable;
    if ((event.key === "/" && !typing) || (event.key === "k" && (event.ctrlKey || event.metaKey))) {
      event.preventDefault();
      input.focus();
      input.select();
    }
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest(".search")) close();
  });
})();
