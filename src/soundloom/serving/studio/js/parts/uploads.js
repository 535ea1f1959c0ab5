/** Files that come in: each is sent, becomes a take, and is opened. */

import { ApiError } from "../net/api.js";
import { routes, upload } from "../net/library.js";
import { usedModel } from "../state/actions.js";
import { isSound, MAX_BYTES } from "../state/sound-files.js";
import { t } from "../strings.js";
import { files as words } from "../strings-work.js";
import { fill, h, icon, iconButton } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
const NOTE_MS = 8000;

/** @typedef {{invite: (on: boolean) => void, receive: (files: File[]) => Promise<void>}} Uploads */

/**
 * @param {Store} store
 * @param {Controls} controls
 * @param {HTMLElement} box
 * @returns {Uploads}
 */
export function createUploads(store, controls, box) {
  const invitation = h("div", { class: "invitation", hidden: true }, icon("upload"), h("strong", {}, words.drop),
    h("span", { class: "soft" }, words.formats));
  const list = h("ul", { class: "column", role: "status" });
  fill(box, invitation, list);
  const show = () => (box.hidden = invitation.hidden && list.children.length === 0);

  /** @param {string} message @param {string} hint */
  const refuse = (message, hint) => {
    const text = h("span", { class: "grow", role: "alert" }, message, " ", h("span", { class: "soft" }, hint));
    const item = h("li", { class: "upload refused row" }, icon("warning"), text, iconButton("close", t.close, () => (item.remove(), show())));
    list.append(item);
    show();
  };

  /** @param {string} text */
  const note = (text) => {
    const item = h("li", { class: "upload row" }, h("span", { class: "grow" }, text), iconButton("close", t.close, () => (item.remove(), show())));
    list.append(item);
    show();
    setTimeout(() => (item.remove(), show()), NOTE_MS);
  };

  /** @param {File} file @param {boolean} open */
  const receive = async (file, open) => {
    const start = new Uint8Array(await file.slice(0, 16).arrayBuffer());
    if (!isSound(start)) return refuse(words.notSound(file.name), words.notSoundHint);
    if (file.size > MAX_BYTES) return refuse(words.tooLarge(file.name), words.tooLargeHint);
    const ending = new AbortController();
    const bar = h("progress", { value: 0, "aria-label": words.sending(file.name) });
    const item = h("li", { class: "upload column" }, h("div", { class: "row" }, h("span", { class: "grow cut" }, words.sending(file.name)),
      iconButton("close", words.cancel(file.name), () => ending.abort())), bar);
    list.append(item);
    show();
    try {
      const tell = (/** @type {number} */ sent) => (sent < 1 ? (bar.value = sent) : bar.removeAttribute("value"));
      const stored = await upload(file, tell, ending.signal);
      const take = await routes.keepUpload(stored.id, "");
      store.send({ type: "takes", takes: [take] });
      const inside = usedModel(store.state)?.rate;
      if (inside && inside !== stored.rate) note(words.rate(stored.rate / 1000, inside / 1000));
      if (open) await controls.open(take.id);
    } catch (error) {
      if (error instanceof ApiError) refuse(`${file.name}: ${error.message}.`, error.hint);
      else if (!(error instanceof DOMException)) throw error;
    } finally {
      item.remove();
      show();
    }
  };

  return {
    invite: (on) => {
      invitation.hidden = !on;
      show();
    },
    receive: async (found) => {
      invitation.hidden = true;
      show();
      for (const [index, file] of found.entries()) await receive(file, index === found.length - 1);
    },
  };
}
