// The theme, set before anything is painted. Owns: the one attribute `data-theme`, and what was chosen last.
(() => {
  const ORDER = ["auto", "light", "dark"];
  const WORDS = { auto: "Auto", light: "Light", dark: "Dark" };
  const root = document.documentElement;
  const kept = () => {
    try { return localStorage.getItem("felixhub-theme"); } catch { return null; }
  };
  const set = (theme) => {
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) {
      button.querySelector(".word").textContent = WORDS[theme];
      button.setAttribute("aria-label", `Theme: ${WORDS[theme]}`);
    }
    dispatchEvent(new Event("felixhub-theme"));
  };
  set(ORDER.includes(kept()) ? kept() : "auto");
  addEventListener("DOMContentLoaded", () => {
    set(root.dataset.theme);
    document.getElementById("theme").addEventListener("click", () => {
      const next = ORDER[(ORDER.indexOf(root.dataset.theme) + 1) % ORDER.length];
      try { localStorage.setItem("felixhub-theme", next); } catch { /* a private window: chosen for this page */ }
      set(next);
    });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("felixhub-theme")));
})();
