/** The handle of a take: drag it to the desktop or into another program, or press it to save the file. */

import { routes, saveAddress, subtypeOf } from "../net/library.js";
import { details as words } from "../strings-library.js";
import { h, icon } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */

const FRESH_MS = 45_000; // an address works for a minute

/**
 * Chromium asks for `DownloadURL` and then fetches a file from the address, without cookies: so it is one that works
 * once. It has to be known when dragging begins, so it is asked for when the pointer comes near.
 * @param {Store} store
 * @param {string} id
 */
export function handle(store, id) {
  /** @type {{data: string, time: number} | null} */
  let ticket = null;
  let asking = false;
  const prepare = async () => {
    if (asking || (ticket && performance.now() - ticket.time < FRESH_MS)) return;
    asking = true;
    try {
      const { format } = store.state.settings;
      const found = await routes.ticket(id, format, subtypeOf(store.state.settings));
      const address = new URL(found.url, location.href).href;
      ticket = { data: `${found.media_type}:${found.name.replaceAll(":", "-")}:${address}`, time: performance.now() };
      link.dataset.ready = "";
    } catch {
      ticket = null; // pressing it still saves the file
    } finally {
      asking = false;
    }
  };
  const link = h("a", {
    class: "handle button square plain", draggable: true, download: "", "aria-label": words.drag, title: words.drag,
    onpointerenter: prepare, onpointerdown: prepare, onfocus: prepare,
    ondragstart: (/** @type {DragEvent} */ event) => {
      if (!ticket || !event.dataTransfer) return;
      event.dataTransfer.setData("DownloadURL", ticket.data);
      event.dataTransfer.setData("text/uri-list", link.href);
      event.dataTransfer.setData("application/x-soundloom-take", id);
      event.dataTransfer.effectAllowed = "copy";
    },
    ondragend: () => (ticket = null),
  }, icon("drag"));
  const address = () => (link.href = saveAddress(id, store.state.settings));
  link.addEventListener("pointerenter", address);
  link.addEventListener("focus", address);
  address();
  return link;
}
