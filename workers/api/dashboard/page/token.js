/** The token of an API that asks for one: asked for once, kept as long as the tab is open. */

import { byId, setText } from "./dom.js";

const NAME = "marketfleet.token";
let token = "";
try {
  token = sessionStorage.getItem(NAME) ?? "";
} catch {
  // Storage is forbidden: the token is asked for each time the page is loaded.
}

/** What a request brings. @returns {Record<string, string>} */
export function tokenHeaders() {
  return token ? { authorization: `Bearer ${token}` } : {};
}

/** The subprotocols of a WebSocket, which cannot send headers. */
export function tokenProtocols() {
  return token ? ["marketfleet", `bearer.${token}`] : [];
}

/** Ask for the token, since the API answered 401. */
export function askForToken() {
  const dialog = byId("token");
  if (dialog.open) return;
  setText(byId("token-note"), token ? "The token is not known to the API." : "");
  dialog.oncancel = (/** @type {Event} */ event) => event.preventDefault(); // nothing can be shown without it
  dialog.onclose = () => {
    token = byId("token-text").value.trim();
    try {
      sessionStorage.setItem(NAME, token);
      location.reload();
    } catch {
      // Storage is forbidden: the next requests bring it, and the next connection.
    }
  };
  dialog.showModal();
}
