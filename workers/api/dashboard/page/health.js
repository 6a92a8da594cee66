/** Whether the fleet works, asked twice a second: the line to the API may live while what is behind it is gone. */

import { reach } from "./rest.js";

const RENEW_MS = 500;
const PATIENCE_MS = 1_500;

/** @typedef {{state: "asking"|"ok"|"degraded"|"down"|"unknown", reasons: string[]}} Health */

/** @param {(health: Health) => void} onHealth called with each answer, and with `unknown` where there is none */
export function watchHealth(onHealth) {
  const ask = async () => {
    onHealth(await answered());
    setTimeout(ask, RENEW_MS);
  };
  ask();
}

/** @returns {Promise<Health>} */
async function answered() {
  try {
    const response = await reach("/healthz", { signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store" });
    const body = await response.json();
    if (response.ok) return { state: body.state, reasons: body.reasons };
    return { state: "down", reasons: body.reasons ?? [body.detail] };
  } catch {
    return { state: "unknown", reasons: [] };
  }
}
