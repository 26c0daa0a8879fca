/** Those who want to hear of changes. Each registration counts by itself, whatever function it is. */
export class Listeners {
  readonly #all = new Set<{ readonly listener: () => void }>();

  /** How many there are. */
  get size(): number {
    return this.#all.size;
  }

  /** Adds one, until the function that it gives is called. */
  add(listener: () => void): () => void {
    const entry = { listener };
    this.#all.add(entry);
    return () => {
      this.#all.delete(entry);
    };
  }

  /** Tells all. */
  tell(): void {
    for (const { listener } of this.#all) safely(listener);
  }
}

/** Runs a listener. What it throws is its owner's: it is reported like any uncaught error, and others are not kept waiting. */
export function safely(listener: () => void): void {
  try {
    listener();
  } catch (err) {
    queueMicrotask(() => {
      throw err;
    });
  }
}
