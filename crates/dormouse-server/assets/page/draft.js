// What a person is writing: title and text, and the version that they were made from.

import { element } from "./screen.js";

export class Draft {
  #title = element("note-title");
  #blob = element("note-blob");

  /** The version that was loaded into the fields; `null` for a note that does not exist. */
  #base = null;

  constructor({ onInput }) {
    this.#title.addEventListener("input", onInput);
    this.#blob.addEventListener("input", onInput);
  }

  get text() {
    return { title: this.#title.value, blob: this.#blob.value };
  }

  /** The version that the draft was made from; 0, which no note has, if there was none. */
  get version() {
    return this.#base?.version ?? 0;
  }

  /** Whether there is something to lose. */
  get isDirty() {
    return !this.#says(this.#base ?? { title: "", blob: "" });
  }

  set isReadOnly(isReadOnly) {
    this.#title.readOnly = isReadOnly;
    this.#blob.readOnly = isReadOnly;
  }

  /** What differs from the version that the draft was made from. The rest need not be sent. */
  changes() {
    const { title, blob } = this.text;
    const base = this.#base ?? { title: undefined, blob: undefined };
    return {
      ...(title !== base.title && { title }),
      ...(blob !== asInField(base.blob) && { blob }),
    };
  }

  isOf({ version, createdAt }) {
    return this.#base?.version === version && this.#base.createdAt === createdAt;
  }

  /** Follows to the newest version, unless that would overwrite what was written. */
  follow(note) {
    if (note !== null && this.#says(note)) this.#base = note;
    else if (!this.isDirty) this.load(note);
    else if (note === null) this.#base = null;
  }

  /** This is what was just saved: what differs from it was written since. */
  rebase(note) {
    this.#base = note;
  }

  clear() {
    this.load(null);
  }

  /** Replaces what was written. */
  load(note) {
    this.#base = note;
    setKeepingCaret(this.#title, note?.title ?? "");
    setKeepingCaret(this.#blob, note?.blob ?? "");
  }

  #says({ title, blob }) {
    return this.#title.value === title && this.#blob.value === asInField(blob);
  }
}

/** A textarea turns every kind of line break into one. */
function asInField(text) {
  return text?.replace(/\r\n?/g, "\n");
}

function setKeepingCaret(field, text) {
  if (field.value === text) return;
  const { selectionStart, selectionEnd } = field;
  field.value = text;
  if (document.activeElement === field) field.setSelectionRange(selectionStart, selectionEnd);
}
