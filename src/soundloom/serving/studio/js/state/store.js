/** One store: state changes by actions alone, and parts of the page hear of what they select. */

/**
 * @template S
 * @template A
 */
export class Store {
  /**
   * @param {(state: S, action: A) => S} reduce returns the same object if nothing changed
   * @param {S} state
   */
  constructor(reduce, state) {
    this.state = state;
    this._reduce = reduce;
    /** @type {Set<() => void>} */
    this._listeners = new Set();
    this._queued = false;
  }

  /** @param {A} action */
  send(action) {
    const next = this._reduce(this.state, action);
    if (next === this.state) return;
    this.state = next;
    if (!this._queued) {
      this._queued = true;
      queueMicrotask(() => {
        this._queued = false;
        for (const listener of [...this._listeners]) listener();
      });
    }
  }

  /**
   * Call `show` now, and whenever one of the selected values is another one.
   * @template {unknown[]} V
   * @param {(state: S) => readonly [...V]} select
   * @param {(...values: [...V, ...unknown[]]) => void} show
   * @returns {() => void} a function that ends this
   */
  watch(select, show) {
    /** @type {readonly unknown[]} */
    let last = select(this.state);
    show(.../** @type {any} */ (last));
    const listener = () => {
      const values = select(this.state);
      if (values.some((value, index) => value !== last[index])) {
        last = values;
        show(.../** @type {any} */ (values));
      }
    };
    this._listeners.add(listener);
    return () => this._listeners.delete(listener);
  }
}
