// Listeners that are told of many changes at once.

import { Listeners } from "../listeners.js";

/** A burst of changes, as after a reconnect, is told this often, in milliseconds: pages draw no faster. */
const INTERVAL_MS = 16;

/** Those who want to hear of changes, but not of each. The first of a burst they hear of as soon as the present task is done. */
export class PacedListeners {
  readonly #listeners = new Listeners();
  #isPlanned = false;
  #toldAt = -Infinity;

  /** How many there are. */
  get size(): number {
    return this.#listeners.size;
  }

  /** Adds one, until the function that it gives is called. */
  add(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Tells all, soon. */
  tell(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    const waitMs = this.#toldAt + INTERVAL_MS - Date.now();
    if (waitMs > 0) setTimeout(() => this.#tellNow(), waitMs);
    else queueMicrotask(() => this.#tellNow());
  }

  #tellNow(): void {
    this.#isPlanned = false;
    this.#toldAt = Date.now();
    this.#listeners.tell();
  }
}
