// The list of notes to pick from. It is read when it is opened, and again after own changes.

import { query } from "./rpc.js";
import { attempt, clearError, element, make, onClick, timeOf } from "./screen.js";

const PAGE_NOTES = 50;

export class NoteList {
  #details = element("note-list");
  #items = element("note-list-items");
  #onPicked;
  #next = undefined;
  #openedId = "";

  /** Rises with every reading from the start, so that an answer to an older one is not taken. */
  #generation = 0;

  /** `onPicked(id)` is called when a person picks a note. */
  constructor({ onPicked }) {
    this.#onPicked = onPicked;
    this.#details.addEventListener("toggle", () => this.refresh());
    onClick("note-list-more", () => this.#read(this.#next));
  }

  /** Reads the list from its start, if somebody looks at it. */
  refresh() {
    if (this.#details.open) attempt(() => this.#read(undefined));
  }

  /** Marks the note that is open. */
  mark(id) {
    this.#openedId = id;
    for (const button of this.#items.querySelectorAll("button")) this.#markButton(button);
  }

  async #read(after) {
    if (after === undefined) this.#generation += 1;
    const generation = this.#generation;
    const { notes, next } = await query("note.list", { after, limit: PAGE_NOTES });
    if (generation !== this.#generation) return;
    clearError();
    const rows = notes.map((note) => this.#row(note));
    if (after === undefined) this.#items.replaceChildren(...rows);
    else this.#items.append(...rows);
    this.#next = next;
    element("note-list-more").hidden = next === undefined;
    element("note-list-empty").hidden = this.#items.childElementCount > 0;
  }

  #row({ id, title, version, updatedAt }) {
    const button = make(
      "button",
      { type: "button", class: "pick", "data-id": id },
      make("span", { class: "title" }, title || "Untitled"),
      make("span", { class: "id" }, id),
      make("span", { class: "facts" }, `v${version} · `, timeOf(updatedAt)),
    );
    this.#markButton(button);
    button.addEventListener("click", () => {
      this.#details.open = false;
      this.#onPicked(id);
    });
    return make("li", {}, button);
  }

  #markButton(button) {
    if (button.dataset.id === this.#openedId) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}
