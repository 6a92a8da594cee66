/** The REST side of the API: JSON, or the problem it answered instead. */

import { askForToken, tokenHeaders } from "./token.js";

/** What the API said in place of a result (application/problem+json), or that it did not answer. */
export class Problem extends Error {
  /** @param {number} status 0: no answer @param {string} title @param {string} detail */
  constructor(status, title, detail) {
    super(detail ? `${title}: ${detail}` : title);
    this.status = status;
    this.title = title;
    this.detail = detail;
  }
}

const AGAIN_MS = 300;

/**
 * Fetch, and once more a moment later where the request itself failed: a connection that was kept open may be closed just as it
 * is used. Only two failures in a row say that nobody answers.
 * @param {string} address
 * @param {RequestInit} options
 * @returns {Promise<Response>}
 */
export async function reach(address, options) {
  try {
    return await fetch(address, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
  }
  await new Promise((done) => setTimeout(done, AGAIN_MS));
  return fetch(address, options);
}

/**
 * GET a path with a query.
 * @param {string} path
 * @param {Record<string, string|number|undefined>} [query] undefined values are left out
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 * @throws {Problem}
 */
export async function get(path, query = {}, signal) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value));
  const text = search.toString();
  let response;
  try {
    response = await reach(text ? `${path}?${text}` : path, { signal, headers: { accept: "application/json", ...tokenHeaders() } });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "No answer", "the API cannot be reached");
  }
  if (response.status === 401) askForToken();
  const body = await response.json().catch(() => null);
  if (response.ok && body !== null) return body;
  throw new Problem(response.status, body?.title ?? `Status ${response.status}`, body?.detail ?? "");
}

/** Whether an error is only that its request is no longer wanted. @param {unknown} error */
export function isAborted(error) {
  return error instanceof DOMException && error.name === "AbortError";
}
