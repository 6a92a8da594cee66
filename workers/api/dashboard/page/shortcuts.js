/** Shortcuts of one key, their list, and the switch that turns them off. */

import { byId, make, row } from "./dom.js";
import { recall, remember } from "./memory.js";

/** @typedef {{key: string, does: string, run: () => void}} Shortcut */

/** @param {Shortcut[]} shortcuts */
export function startShortcuts(shortcuts) {
  const dialog = byId("keys");
  const enabled = byId("keys-on");
  enabled.checked = recall("shortcuts", "on") === "on";
  enabled.addEventListener("change", () => remember("shortcuts", enabled.checked ? "on" : "off"));
  const all = [...shortcuts, { key: "?", does: "this list", run: () => dialog.showModal() }];
  byId("show-keys").addEventListener("click", () => dialog.showModal());
  byId("keys-list").append(...all.map(({ key, does }) => row([make("td", {}, make("kbd", {}, key)), does])));
  document.addEventListener("keydown", (event) => {
    if (!enabled.checked || dialog.open || event.ctrlKey || event.metaKey || event.altKey) return;
    if (isTyping(event.target)) return;
    const found = all.find(({ key }) => key === event.key || (key === "1 – 7" && "1" <= event.key && event.key <= "7"));
    if (!found) return;
    event.preventDefault();
    pressed = event.key;
    found.run();
  });
}

let pressed = "";

/** The key that called the running shortcut. */
export function pressedKey() {
  return pressed;
}

/** @param {EventTarget|null} target */
function isTyping(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return target.type !== "radio" && target.type !== "range";
  return target instanceof HTMLSelectElement || target instanceof HTMLTextAreaElement;
}
