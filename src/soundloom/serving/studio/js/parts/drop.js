/** Take files that are dropped anywhere on the page, or pasted. What reads them is loaded with the first one. */

import { h } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function drop(store, controls) {
  const box = h("div", { class: "uploads", hidden: true });
  /** @type {Promise<import("./uploads.js").Uploads> | null} */
  let made = null;
  const uploads = () => (made ??= import("./uploads.js").then(({ createUploads }) => createUploads(store, controls, box)));
  controls.receive = (files) => void uploads().then((one) => one.receive(files, "page"));
  const placeOf = (/** @type {Event} */ { target }) =>
    target instanceof Element && target.closest(".prompt-part") ? "prompt" : "page";
  const hasFiles = (/** @type {DragEvent} */ { dataTransfer }) =>
    dataTransfer?.types.includes("Files") && !dataTransfer.types.includes("application/x-soundloom-take");
  /**
   * @param {"dragenter" | "dragover" | "dragleave" | "drop"} kind
   * @param {(event: DragEvent) => void} act
   */
  const on = (kind, act) =>
    document.addEventListener(kind, (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      act(event);
    });
  on("dragenter", (event) => void uploads().then((one) => one.invite(placeOf(event))));
  on("dragover", (event) => event.dataTransfer && (event.dataTransfer.dropEffect = "copy"));
  on("dragleave", (event) => event.relatedTarget === null && void uploads().then((one) => one.invite(null)));
  on("drop", (event) => {
    const files = [...(event.dataTransfer?.files ?? [])];
    const place = placeOf(event);
    void uploads().then((one) => one.receive(files, place));
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length > 0) controls.receive?.(files);
  });
  return box;
}
