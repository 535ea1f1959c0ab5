/** Follow what happens at the server, and bring the state up to date. */

import { api, ApiError } from "./api.js";

/** @typedef {import("../state/store.js").Store<import("../types.js").State, import("../state/actions.js").Action>} Store */

const HIDDEN_MS = 60_000; // until the stream of a hidden page is closed; browsers have few connections
const RETRY_MS = 1500;

/**
 * Follow the events as long as the page lives.
 * @param {Store} store
 */
export function follow(store) {
  const refresh = new Refresh(store);
  /** @type {EventSource | null} */
  let source = null;
  let seen = "";
  let hiding = 0;

  const open = () => {
    source?.close();
    const stream = new EventSource(seen ? `/v1/events?after=${seen}` : "/v1/events");
    source = stream;
    const on = (/** @type {string} */ kind, /** @type {(data: any) => void} */ act) =>
      stream.addEventListener(kind, (event) => {
        if (event.lastEventId) seen = event.lastEventId;
        act(JSON.parse(event.data));
      });
    on("hello", () => refresh.all());
    on("reset", () => refresh.all());
    on("job", (data) => refresh.job(data.id));
    on("item", (data) => refresh.job(data.job));
    on("take", (data) => refresh.take(data.id));
    on("takes", () => refresh.library());
    on("progress", (data) => {
      if (data.model) refresh.models();
      else store.send({ type: "progress", job: data.id, progress: data });
    });
    for (const kind of ["queue", "system", "model", "download"]) on(kind, () => refresh.system());
    stream.onopen = () => store.send({ type: "connection", value: "open" });
    stream.onerror = () => {
      stream.close();
      if (source === stream) void lost();
    };
  };

  const lost = async () => {
    try {
      await api.system();
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        store.send({ type: "connection", value: "login" });
        return;
      }
      store.send({ type: "connection", value: "lost" });
    }
    setTimeout(open, RETRY_MS);
  };

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) {
      hiding = setTimeout(() => {
        source?.close();
        source = null;
      }, HIDDEN_MS);
    } else if (!source) {
      open();
    }
  });
  open();
  return { open };
}

/** Ask the server for what changed; several changes of one thing are one question. */
class Refresh {
  /** @param {Store} store */
  constructor(store) {
    this.store = store;
    /** @type {Map<string, boolean>} true: it changed again meanwhile */
    this.asking = new Map();
  }

  all() {
    this.system();
    this._once("jobs", async () => this.store.send({ type: "jobs", jobs: await api.jobs() }));
    this._once("takes", async () => {
      const { takes } = await api.takes(new URLSearchParams({ limit: "100" }));
      this.store.send({ type: "takes", takes });
    });
  }

  system() {
    this._once("system", async () => this.store.send({ type: "system", system: await api.system() }));
    this.models();
  }

  models() {
    this._once("models", async () => this.store.send({ type: "models", models: await api.models() }));
  }

  /** @param {string} id */
  job(id) {
    this._once(`job ${id}`, async () => this.store.send({ type: "job", job: await api.job(id) }));
  }

  /** @param {string} id */
  take(id) {
    this._once(`take ${id}`, async () => this.store.send({ type: "takes", takes: [await api.take(id)] }));
    this.library();
  }

  /** Count the changes of the library; it asks again when it is seen. */
  library() {
    this.store.send({ type: "library", library: { changes: this.store.state.library.changes + 1 } });
  }

  /**
   * @param {string} name
   * @param {() => Promise<void>} work
   */
  async _once(name, work) {
    if (this.asking.has(name)) {
      this.asking.set(name, true);
      return;
    }
    do {
      this.asking.set(name, false);
      try {
        await work();
      } catch (error) {
        if (!(error instanceof ApiError)) throw error; // the stream notices that the server is gone
      }
    } while (this.asking.get(name));
    this.asking.delete(name);
  }
}
