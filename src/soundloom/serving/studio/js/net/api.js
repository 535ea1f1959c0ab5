/** The server's routes as functions. */

/** @typedef {import("../types.js").Job} Job */
/** @typedef {import("../types.js").Take} Take */

/** What the server refused, in its words. */
export class ApiError extends Error {
  /**
   * @param {number} status 0 if there was no answer
   * @param {string} message
   * @param {string} hint
   * @param {{field: string, message: string}[]} errors
   */
  constructor(status, message, hint = "", errors = []) {
    super(message);
    this.status = status;
    this.hint = hint;
    this.errors = errors;
  }
}

/**
 * @param {string} path
 * @param {RequestInit & {json?: unknown}} [options]
 * @returns {Promise<Response>} raises ApiError
 */
export async function ask(path, options = {}) {
  const { json, headers, ...rest } = options;
  const init = { ...rest, headers: { ...(json === undefined ? {} : { "Content-Type": "application/json" }), ...headers } };
  if (json !== undefined) init.body = JSON.stringify(json);
  let response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer.");
  }
  if (!response.ok && response.type !== "opaqueredirect") throw await problem(response);
  return response;
}

/** @param {Response} response */
async function problem(response) {
  try {
    const { detail, hint, errors } = await response.json();
    return new ApiError(response.status, String(detail ?? response.statusText), String(hint ?? ""), errors ?? []);
  } catch {
    return new ApiError(response.status, `The server answered ${response.status}.`);
  }
}

/**
 * @param {string} path
 * @param {RequestInit & {json?: unknown}} [options]
 * @returns {Promise<any>}
 */
export async function json(path, options) {
  return (await ask(path, options)).json();
}

/**
 * @param {string} path
 * @param {unknown} [body]
 * @returns {Promise<any>}
 */
export async function post(path, body = {}) {
  const response = await ask(path, { method: "POST", json: body });
  return response.status === 204 ? null : response.json();
}

const take = (/** @type {string} */ id) => `/v1/takes/${encodeURIComponent(id)}`;
const job = (/** @type {string} */ id) => `/v1/jobs/${encodeURIComponent(id)}`;
const model = (/** @type {string} */ id) => `/v1/models/${encodeURIComponent(id)}`;

export const api = {
  /** @returns {Promise<import("../types.js").System>} */
  system: () => json("/v1/system"),
  /** @returns {Promise<import("../types.js").Model[]>} */
  models: async () => (await json("/v1/models")).data,
  /** @returns {Promise<import("../types.js").Lora[]>} */
  loras: async () => (await json("/v1/loras")).loras,

  /** @param {string} model @returns {Promise<import("../types.js").Prompts>} */
  prompts: (model) => json(`/v1/prompts?${new URLSearchParams({ model })}`),
  /** @param {{name: string, values: Record<string, string>, description: string, model: string}} body @returns {Promise<{prompt: string}>} */
  template: (body) => post("/v1/prompts/template", body),
  /** @param {string} prompt @param {string} model @returns {Promise<import("../types.js").Reading>} */
  read: (prompt, model) => post("/v1/prompts/read", { prompt, model }),

  /** @returns {Promise<Job[]>} */
  jobs: () => json("/v1/jobs?limit=200"),
  /** @param {string} id @returns {Promise<Job>} */
  job: (id) => json(job(id)),
  /**
   * The key makes a repetition after a lost answer the same job.
   * @param {unknown} body @param {string} key @returns {Promise<Job>}
   */
  submit: (body, key) => json("/v1/jobs", { method: "POST", json: body, headers: { "Idempotency-Key": key } }),
  /** @param {unknown} body @param {AbortSignal} signal @returns {Promise<import("../types.js").Check>} */
  check: (body, signal) => json("/v1/check", { method: "POST", json: body, signal }),
  /** @param {string} id @returns {Promise<Job>} */
  cancel: (id) => post(`${job(id)}/cancel`),
  /** @param {string} id @returns {Promise<Job>} */
  retry: (id) => post(`${job(id)}/retry`),
  /** @param {string} id @param {string | null} before @returns {Promise<Job>} */
  move: (id, before) => json(job(id), { method: "PATCH", json: { before } }),
  /** @param {boolean} paused */
  pause: (paused) => post(paused ? "/v1/queue/pause" : "/v1/queue/resume"),

  /** @param {URLSearchParams} query @returns {Promise<{takes: Take[], count: number}>} */
  takes: (query) => json(`/v1/takes?${query}`),
  /** @param {string} id @returns {Promise<Take>} */
  take: (id) => json(take(id)),
  /** @param {string} id @param {Record<string, unknown>} values @returns {Promise<Take>} */
  changeTake: (id, values) => json(take(id), { method: "PATCH", json: values }),
  /** @param {string} id */
  deleteTake: async (id) => void (await ask(take(id), { method: "DELETE" })),
  /** @param {string} id @returns {Promise<Take>} */
  restoreTake: (id) => post(`${take(id)}/restore`),
  /** @param {string} id @returns {Promise<import("../types.js").Recipe>} */
  recipe: (id) => json(`${take(id)}/recipe`),
  /** @param {string} id @returns {Promise<Take[]>} */
  lineage: (id) => json(`${take(id)}/lineage`),
  /** @param {string} id @returns {Promise<ArrayBuffer>} */
  audio: async (id) => (await ask(`${take(id)}/audio`)).arrayBuffer(),
  /** @param {string} id @returns {Promise<ArrayBuffer>} */
  peaks: async (id) => (await ask(`${take(id)}/peaks`)).arrayBuffer(),
  /** @param {string} id @returns {Promise<import("../types.js").Measure>} */
  measure: (id) => json(`${take(id)}/measure`),
  /** @param {string} id @returns {Promise<import("../types.js").Comparison>} */
  comparison: (id) => json(`${take(id)}/comparison`),
  /** @param {string} id @param {number} tile @param {number} level @returns {Promise<ArrayBuffer>} */
  tile: async (id, tile, level) => (await ask(`${take(id)}/spectrogram?tile=${tile}&level=${level}`)).arrayBuffer(),

  /** @param {string} id @returns {Promise<{terms: string}>} */
  license: (id) => json(`${model(id)}/license`),
  /** @param {string} id @param {boolean} accepted */
  pull: (id, accepted) => post(`${model(id)}/pull`, { accept_license: accepted }),
  /** @param {string} id @param {"verify" | "load" | "unload" | "pause" | "resume" | "stop"} action */
  act: (id, action) => post(`${model(id)}/${action}`),

  /** @param {string} token */
  login: async (token) => void (await ask("/login", { method: "POST", body: new URLSearchParams({ token }), redirect: "manual" })),
};

/** A random key; `crypto.randomUUID` is missing where the page came over plain HTTP from another machine. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
