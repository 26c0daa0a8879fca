// A list of numbered things, newest first: the operations of a counter, the versions of a note.

import { clearError, showError } from "./screen.js";

const PAGE_ROWS = 20;

/** The list stops growing at its top when it has this many rows: the oldest leave. */
const ROWS_MAX = 500;

/**
 * Rows come from pages that are asked for, and from live events, in any order; each number is there once.
 *
 * `read(before, limit)` resolves to `{ items, next? }`, newest first; `rowOf(item)` makes an `<li>`;
 * `numberOf(item)` is what the list is ordered by.
 */
export class History {
  #list;
  #older;
  #empty;
  #read;
  #rowOf;
  #numberOf;

  /** Rises when the list is emptied, so that a page that was asked for before is not taken. */
  #generation = 0;

  constructor({ list, older, empty, read, rowOf, numberOf }) {
    this.#list = list;
    this.#older = older;
    this.#empty = empty;
    this.#read = read;
    this.#rowOf = rowOf;
    this.#numberOf = numberOf;
    older.addEventListener("click", () => this.#loadOlder());
    this.clear();
  }

  clear() {
    this.#generation += 1;
    this.#list.replaceChildren();
    this.#older.hidden = true;
    this.#empty.hidden = false;
  }

  /** Adds what just happened. */
  add(item) {
    this.#insert(item);
    if (this.#list.childElementCount > ROWS_MAX) {
      this.#list.lastElementChild.remove();
      this.#older.hidden = false;
    }
  }

  /** Asks for the newest page. Rejects with what `read` rejects with. */
  async load() {
    await this.#loadBefore(undefined);
  }

  /** The row with this number, if it is shown. */
  row(number) {
    return this.#list.querySelector(`[data-number="${number}"]`);
  }

  async #loadOlder() {
    this.#older.disabled = true;
    try {
      const oldest = this.#list.lastElementChild?.dataset.number;
      await this.#loadBefore(oldest === undefined ? undefined : Number(oldest));
      clearError();
    } catch (err) {
      showError(err);
    } finally {
      this.#older.disabled = false;
    }
  }

  async #loadBefore(before) {
    const generation = this.#generation;
    try {
      const { items, next } = await this.#read(before, PAGE_ROWS);
      if (generation !== this.#generation) return;
      for (const item of items) this.#insert(item);
      this.#older.hidden = next === undefined;
    } catch (err) {
      if (generation !== this.#generation) return;
      this.#older.hidden = false; // It is also the way to try again.
      throw err;
    }
  }

  #insert(item) {
    const number = this.#numberOf(item);
    const rows = this.#list.children;
    // Nearly always the first or the last place, so both ends are looked at before the middle.
    let place = 0;
    if (rows.length > 0 && number < Number(rows[rows.length - 1].dataset.number)) {
      place = rows.length;
    }
    while (place < rows.length && Number(rows[place].dataset.number) > number) place += 1;
    if (place < rows.length && Number(rows[place].dataset.number) === number) return;
    const row = this.#rowOf(item);
    row.dataset.number = number;
    this.#list.insertBefore(row, rows[place] ?? null);
    this.#empty.hidden = true;
  }
}
