/** The server's routes for many takes at once, files that come in and go out, and what is kept. */

import { ApiError, json, post } from "./api.js";

/** @typedef {import("../types.js").Take} Take */

export const routes = {
  /** @param {URLSearchParams} query @returns {Promise<string[]>} the ids of all that are found */
  ids: async (query) => (await json(`/v1/takes/ids?${query}`)).ids,
  /** @param {import("../types.js").TakesChange} change @returns {Promise<string[]>} the ids of those that were not so before */
  change: async (change) => (await json("/v1/takes", { method: "PATCH", json: change })).changed,
  /** @returns {Promise<{tag: string, takes: number}[]>} */
  tags: async () => (await json("/v1/takes/tags")).tags,
  /**
   * @param {string[]} takes @param {string} format @param {string | null} subtype
   * @returns {Promise<{url: string, name: string, takes: number, missing: number}>}
   */
  export: (takes, format, subtype) => post("/v1/exports", { takes, format, subtype }),
  /**
   * @param {string} take @param {string} format @param {string | null} subtype
   * @returns {Promise<{url: string, name: string, media_type: string, expires: number}>}
   */
  ticket: (take, format, subtype) => post(`/v1/takes/${encodeURIComponent(take)}/ticket`, { format, subtype }),
  /** Give a take its missing file back. @param {string} take @param {File} file @returns {Promise<Take>} */
  find: (take, file) => {
    const body = new FormData();
    body.append("file", file, file.name);
    return json(`/v1/takes/${encodeURIComponent(take)}/file`, { method: "PUT", body });
  },
  /** @param {string} take */
  show: (take) => post(`/v1/takes/${encodeURIComponent(take)}/show`),
  /** @param {string} upload @param {string} title @returns {Promise<Take>} */
  keepUpload: (upload, title) => post("/v1/takes", { upload, title }),
  /** @returns {Promise<{takes: number, bytes: number}>} */
  purge: () => json("/v1/takes", { method: "DELETE" }),
  /** @returns {Promise<import("../types.js").Kept>} */
  kept: () => json("/v1/kept"),
};

/**
 * Send a file, and tell how far it is.
 * @param {File} file
 * @param {(fraction: number) => void} progress
 * @param {AbortSignal} signal
 * @param {"/v1/uploads" | "/v1/loras"} path
 * @returns {Promise<any>}
 */
export function upload(file, progress, signal, path) {
  const form = new FormData();
  form.append("file", file, file.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much was sent
    request.open("POST", path);
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => progress(loaded / Math.max(1, total));
    request.onerror = () => reject(new ApiError(0, "The server does not answer."));
    request.onabort = () => reject(new DOMException("canceled", "AbortError"));
    request.onload = () => {
      if (request.status < 300) resolve(request.response);
      else reject(new ApiError(request.status, request.response?.detail ?? `The server answered ${request.status}.`, request.response?.hint ?? ""));
    };
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/**
 * Let the browser save what an address answers with.
 * @param {string} url
 * @param {string} name
 */
export function save(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}

/**
 * The address that saves a take, in the format of the settings.
 * @param {string} take
 * @param {import("../state/storage.js").Settings} settings
 */
export function saveAddress(take, settings) {
  const query = new URLSearchParams({ download: "true", format: settings.format });
  const subtype = subtypeOf(settings);
  if (subtype) query.set("subtype", subtype);
  return `/v1/takes/${encodeURIComponent(take)}/audio?${query}`;
}

/**
 * The subtype to ask for; null: as it is stored.
 * @param {import("../state/storage.js").Settings} settings
 * @returns {string | null}
 */
export function subtypeOf({ format, subtype }) {
  if (format === "mp3" || subtype === "stored") return null;
  return format === "flac" && subtype === "float" ? null : subtype;
}

