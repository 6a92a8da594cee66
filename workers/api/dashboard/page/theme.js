/** Light, dark, or as the system says; the choice is kept in this browser. */

import { byId, setText } from "./dom.js";
import { recall, remember } from "./memory.js";

const ORDER = ["auto", "light", "dark"];

export function startTheme() {
  const button = byId("theme");
  let chosen = recall("theme", "auto");
  const apply = () => {
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    setText(byId("theme-name"), chosen);
    button.title = chosen === "auto" ? "Theme: as the system" : `Theme: ${chosen}`;
    document.dispatchEvent(new Event("themechange"));
  };
  button.addEventListener("click", () => {
    chosen = ORDER[(ORDER.indexOf(chosen) + 1) % ORDER.length];
    remember("theme", chosen);
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  apply();
}
