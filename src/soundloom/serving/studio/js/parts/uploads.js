/** Files that come in: sounds become takes and are opened, or tell the prompt their words; adapters go to their folder. */

import { api, ApiError } from "../net/api.js";
import { routes, upload } from "../net/library.js";
import { usedModel } from "../state/actions.js";
import { isSound, MAX_BYTES } from "../state/sound-files.js";
import { t } from "../strings.js";
import { files as words } from "../strings-work.js";
import { fill, h, icon, iconButton } from "./element.js";
import "./more-styles.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
const NOTE_MS = 8000;

/** @typedef {"page" | "prompt"} Place where a file is dropped */
/** @typedef {{invite: (place: Place | null) => void, receive: (files: File[], place: Place) => Promise<void>}} Uploads */

const MAX_PROMPT = 10_000; // characters

/**
 * @param {Store} store
 * @param {Controls} controls
 * @param {HTMLElement} box
 * @returns {Uploads}
 */
export function createUploads(store, controls, box) {
  const what = h("strong", {});
  const invitation = h("div", { class: "invitation", hidden: true }, icon("upload"), what, h("span", { class: "soft" }, words.formats));
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

  /**
   * Send a file, and show how far it is.
   * @param {File} file
   * @param {"/v1/uploads" | "/v1/loras"} path
   * @param {(answer: any) => Promise<void> | void} work what to do with the answer
   */
  const send = async (file, path, work) => {
    if (file.size > MAX_BYTES) return refuse(words.tooLarge(file.name), path === "/v1/uploads" ? words.tooLargeHint : "");
    const ending = new AbortController();
    const bar = h("progress", { value: 0, "aria-label": words.sending(file.name) });
    const item = h("li", { class: "upload column" }, h("div", { class: "row" }, h("span", { class: "grow cut" }, words.sending(file.name)),
      iconButton("close", words.cancel(file.name), () => ending.abort())), bar);
    list.append(item);
    show();
    try {
      const tell = (/** @type {number} */ sent) => (sent < 1 ? (bar.value = sent) : bar.removeAttribute("value"));
      await work(await upload(file, tell, ending.signal, path));
    } catch (error) {
      const name = error instanceof Error && error.message.includes(file.name) ? "" : `${file.name}: `;
      if (error instanceof ApiError) refuse(`${name}${error.message}.`, error.hint);
      else if (!(error instanceof DOMException)) throw error;
    } finally {
      item.remove();
      show();
    }
  };

  /** @param {File} file */
  const isSoundFile = async (file) => isSound(new Uint8Array(await file.slice(0, 16).arrayBuffer()));

  /** @param {File} file @param {boolean} open */
  const sound = async (file, open) => {
    if (!(await isSoundFile(file))) return refuse(words.notSound(file.name), words.notSoundHint);
    return send(file, "/v1/uploads", async (stored) => {
      const take = await routes.keepUpload(stored.id, "");
      store.send({ type: "takes", takes: [take] });
      const inside = usedModel(store.state)?.rate;
      if (inside && inside !== stored.rate) note(words.rate(stored.rate / 1000, inside / 1000));
      if (open) await controls.open(take.id);
    });
  };

  /** Use a text, or the words that a sound was made with, as the prompt. @param {File} file */
  const prompt = async (file) => {
    const use = (/** @type {string} */ text) => store.send({ type: "words", words: { prompt: text.trim().slice(0, MAX_PROMPT) } });
    if (await isSoundFile(file)) {
      return send(file, "/v1/uploads", ({ record }) => {
        const text = record.request?.prompt;
        if (text) use(text);
        else refuse(words.noRecord(file.name), words.noRecordHint);
      });
    }
    const text = await file.slice(0, 4 * MAX_PROMPT).text();
    if (/[\0\ufffd]/.test(text.slice(0, MAX_PROMPT)) || !text.trim()) return refuse(words.notText(file.name), "");
    return use(text);
  };

  /** @param {File} file */
  const adapter = (file) => {
    if (!store.state.system?.lora_uploads) return refuse(words.noAdapters, words.noAdaptersHint);
    return send(file, "/v1/loras", async ({ name }) => {
      store.send({ type: "loras", loras: await api.loras() });
      note(words.adapter(name));
    });
  };

  return {
    invite: (place) => {
      invitation.hidden = place === null;
      what.textContent = place === "prompt" ? words.dropPrompt : words.drop;
      show();
    },
    receive: async (found, place) => {
      invitation.hidden = true;
      show();
      for (const [index, file] of found.entries()) {
        if (file.name.endsWith(".safetensors")) await adapter(file);
        else if (place === "prompt") await prompt(file);
        else await sound(file, index === found.length - 1);
      }
    },
  };
}
