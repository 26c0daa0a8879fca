// The note's half of the page.

import { CallError } from "./call_error.js";
import { Connection } from "./connection.js";
import { Draft } from "./draft.js";
import { History } from "./history.js";
import { NoteList } from "./note_list.js";
import { mutate, query } from "./rpc.js";
import {
  ConnectionStatus, announcer, attempt, clearError, confirmed, element, flash, make, onClick, onSubmit,
  problemOfId, showError, timeOf,
} from "./screen.js";

const DISCARD = {
  question: "Discard your unsaved changes?",
  detail: "What you wrote since the last save is lost.",
  action: "Discard",
};

/** A socket says nothing about a note that does not exist, so each new one is asked with a call of this id. */
const EXISTS_CALL = "exists";

/** As much of a version's text as its row shows before it is opened. */
const SNIPPET_CHARS_MAX = 120;

export class NoteView {
  /** Empty while a new note is written that has no id yet. */
  #id = "";

  /** The newest version that the server told of; `null` if there is none, or none is known. */
  #note = null;

  /** Whether it is known that the note exists, or that it does not. */
  #isKnown = false;

  #connection = null;
  #frames = 0;
  #framesBeforeAsking = 0;
  #callsUnderWay = 0;
  #isComparing = false;
  #wasDeletedElsewhere = false;
  #onOpened;

  #status = new ConnectionStatus("note-", { onAgain: () => this.#connection?.again() });
  #announce = announcer(element("note-announcement"));
  #draft = new Draft({ onInput: () => this.#render() });
  #list = new NoteList({ onPicked: (id) => attempt(() => this.#switchTo(id)) });
  #history = new History({
    list: element("note-history"),
    older: element("note-older"),
    empty: element("note-history-empty"),
    read: async (before, limit) => {
      const { versions, next } = await query("note.history", { id: this.#id, before, limit });
      return { items: versions, next };
    },
    rowOf: (version) => versionRow(version, () => attempt(() => this.#revert(version))),
    numberOf: ({ version }) => version,
  });

  /** `onOpened(id)` is told which note is shown; the id of a new note is empty. */
  constructor({ onOpened }) {
    this.#onOpened = onOpened;
    onSubmit("note-form", () => this.#switchTo(element("note-id").value));
    onSubmit("note-editor", () => (this.#note === null ? this.#create() : this.#save()));
    onClick("note-new", () => this.#switchTo(""));
    onClick("note-discard", () => this.#discard());
    onClick("note-delete", () => this.#delete());
    onClick("note-compare", () => {
      this.#isComparing = true;
      this.#render();
    });
    onClick("note-take-theirs", () => this.#takeTheirs());
    onClick("note-overwrite", () => this.#overwrite());
    addEventListener("keydown", (event) => this.#shortcut(event));
    addEventListener("beforeunload", (event) => {
      if (this.#draft.isDirty) event.preventDefault();
    });
  }

  /** Leaves the note that is shown and attaches to this one. An empty id starts a new note. */
  open(id) {
    const problem = id === "" ? undefined : problemOfId(id);
    if (problem !== undefined) throw new CallError(problem);
    clearError();
    this.#connection?.stop();
    this.#connection = null;
    this.#id = id;
    element("note-id").value = id;
    this.#forget();
    this.#draft.clear();
    this.#isKnown = id === "";
    this.#status.show({ name: "idle" });
    this.#onOpened(id);
    this.#list.mark(id);
    this.#render();
    if (id === "") return;
    this.#connection = new Connection("note", id, {
      onState: (state) => {
        this.#status.show(state);
        if (state.name === "connected") this.#askWhetherItExists();
      },
      onFrame: (frame) => this.#received(frame),
    });
    this.#connection.start();
  }

  /** Connects once more, as somebody else perhaps. What is written here stays. */
  again() {
    this.#connection?.again();
  }

  async #switchTo(id) {
    if (this.#draft.isDirty && !(await confirmed(DISCARD))) return;
    this.open(id);
    if (id === "") element("note-title").focus();
  }

  #received(frame) {
    switch (frame.type) {
      case "result":
        return; // The note exists; `initial` or `resumed` says the rest.
      case "error":
        if (frame.id !== EXISTS_CALL) showError(new CallError(frame.message));
        // A frame that came since the question knows better.
        else if (frame.code === "NOT_FOUND" && this.#frames === this.#framesBeforeAsking) this.#vanished();
        return;
    }
    this.#frames += 1;
    switch (frame.type) {
      case "initial":
        this.#history.clear();
        attempt(() => this.#loadHistory());
        this.#learned(frame.data);
        break;
      case "create":
      case "update":
      case "revert":
        if (frame.type === "create") this.#history.clear();
        this.#history.add(frame.data);
        this.#learned(frame.data);
        this.#changed(`version ${frame.data.version}`);
        break;
      case "delete":
        this.#wasDeletedElsewhere = this.#callsUnderWay === 0;
        this.#vanished();
        this.#changed("deleted");
        break;
    }
  }

  async #loadHistory() {
    await this.#history.load();
    this.#render();
  }

  #askWhetherItExists() {
    this.#framesBeforeAsking = this.#frames;
    this.#connection.call(EXISTS_CALL, "get", {});
  }

  /** There is a newest version. A draft with changes is kept; one without follows. */
  #learned(note) {
    this.#note = note;
    this.#isKnown = true;
    this.#wasDeletedElsewhere = false;
    this.#draft.follow(note);
    this.#render();
  }

  /** Results of calls can be older than what the socket brought since. */
  #learnedFromCall(note) {
    const known = this.#note;
    const isOlder = known !== null
      && (note.createdAt < known.createdAt
        || (note.createdAt === known.createdAt && note.version <= known.version));
    if (!isOlder) {
      this.#history.add(note);
      this.#learned(note);
    }
  }

  #vanished() {
    this.#forget();
    this.#isKnown = true;
    this.#draft.follow(null);
    this.#render();
  }

  #forget() {
    this.#note = null;
    this.#isKnown = false;
    this.#isComparing = false;
    this.#history.clear();
  }

  #changed(what) {
    if (this.#callsUnderWay > 0) return;
    this.#announce(`Note ${this.#id} changed elsewhere: ${what}`);
    flash(element("note-state"));
  }

  async #create() {
    if (!this.#isKnown) return;
    const id = element("note-id").value;
    const problem = id === "" ? undefined : problemOfId(id);
    if (problem !== undefined) throw new CallError(problem);
    const { title, blob } = this.#draft.text;
    const input = id === "" ? { title, blob } : { id, title, blob };
    const note = await this.#call("note.create", input);
    if (note === undefined) return;
    if (note.id === this.#id) this.#draft.rebase(note);
    else this.open(note.id);
    this.#learnedFromCall(note);
  }

  #save() {
    if (!this.#draft.isDirty) return;
    return this.#update({ ...this.#draft.changes(), expectedVersion: this.#draft.version });
  }

  /** Keeps nothing of the other version, of which what is written here may know only a part. */
  #overwrite() {
    return this.#update({ ...this.#draft.text, expectedVersion: this.#note.version });
  }

  async #update(changes) {
    const note = await this.#call("note.update", { id: this.#id, ...changes });
    if (note === undefined) return;
    this.#isComparing = false;
    this.#draft.rebase(note);
    this.#learnedFromCall(note);
    this.#draft.follow(this.#note);
    this.#render();
  }

  async #revert({ version }) {
    if (this.#draft.isDirty && !(await confirmed(DISCARD))) return;
    const note = await this.#call("note.revert", { id: this.#id, version });
    if (note === undefined) return;
    this.#learnedFromCall(note);
    this.#takeTheirs();
  }

  async #delete() {
    const question = `Delete “${this.#note.title || this.#id}”?`;
    const detail = "Every version of it is deleted too. This cannot be undone.";
    if (!(await confirmed({ question, detail, action: "Delete" }))) return;
    const deleted = await this.#call("note.delete", { id: this.#id });
    if (deleted === undefined) return;
    this.#draft.clear();
    this.#vanished();
  }

  async #discard() {
    if (!(await confirmed(DISCARD))) return;
    this.#takeTheirs();
  }

  #takeTheirs() {
    this.#isComparing = false;
    this.#wasDeletedElsewhere = false;
    this.#draft.load(this.#note);
    this.#render();
  }

  /** Resolves to `undefined` if another note was opened meanwhile, or the answer was a conflict. */
  async #call(procedure, input) {
    const id = this.#id;
    this.#callsUnderWay += 1;
    this.#render();
    try {
      const result = await mutate(procedure, input);
      clearError();
      this.#list.refresh();
      return id === this.#id ? result : undefined;
    } catch (err) {
      if (id !== this.#id || err.code !== "CONFLICT" || err.data.current === undefined) throw err;
      if (err.data.current.id !== id) throw err;
      this.#learnedFromCall(err.data.current);
      this.#isComparing = true;
      return undefined;
    } finally {
      this.#callsUnderWay -= 1;
      this.#render();
    }
  }

  #shortcut(event) {
    if (event.key.toLowerCase() !== "s" || !(event.ctrlKey || event.metaKey) || event.altKey) return;
    event.preventDefault();
    element("note-editor").requestSubmit();
  }

  #render() {
    const { isDirty } = this.#draft;
    const note = this.#note;
    const isBusy = this.#callsUnderWay > 0;
    const isBehind = note !== null && isDirty && !this.#draft.isOf(note) && !isBusy;
    const isAbsent = this.#isKnown && note === null;

    element("note-editor").dataset.presence = !this.#isKnown ? "unknown" : isAbsent ? "absent" : "present";
    this.#draft.isReadOnly = !this.#isKnown || (isAbsent && isBusy);
    element("note-version").textContent = note === null ? "–" : String(note.version);
    element("note-state").replaceChildren(...this.#stateInWords(isDirty));

    element("note-create").hidden = !isAbsent;
    element("note-create").disabled = isBusy;
    element("note-save").hidden = isAbsent;
    element("note-save").disabled = !isDirty || isBusy || note === null;
    element("note-discard").hidden = !isDirty;
    element("note-delete").hidden = note === null;

    element("note-gone").hidden = !(isAbsent && isDirty && this.#wasDeletedElsewhere);
    element("note-newer").hidden = !isBehind || this.#isComparing;
    element("note-conflict").hidden = !isBehind || !this.#isComparing;
    if (isBehind) this.#showTheirs(note);
    this.#markCurrent(note);
  }

  #stateInWords(isDirty) {
    if (!this.#isKnown) return ["Opening…"];
    if (isDirty) return ["Unsaved changes"];
    if (this.#note !== null) return ["Saved at ", timeOf(this.#note.updatedAt)];
    return [this.#id === "" ? "A new note" : "There is no note with this id yet"];
  }

  #showTheirs({ version, title, blob, updatedAt }) {
    element("note-newer-version").textContent = `Version ${version}`;
    element("note-theirs-version").replaceChildren(`Version ${version}, saved at `, timeOf(updatedAt));
    element("note-theirs-title").textContent = title || "Untitled";
    element("note-theirs-blob").textContent = blob;
  }

  #markCurrent(note) {
    const marked = element("note-history").querySelector("[aria-current]");
    const current = note === null ? null : this.#history.row(note.version);
    if (marked === current) return;
    marked?.removeAttribute("aria-current");
    current?.setAttribute("aria-current", "true");
  }
}

function versionRow({ version, title, blob, updatedAt }, onRevert) {
  const revert = make(
    "button",
    { type: "button", class: "small", "data-testid": "note-revert", "data-version": version },
    "Revert",
  );
  revert.setAttribute("aria-label", `Revert to version ${version}`);
  revert.addEventListener("click", onRevert);
  const summary = make(
    "summary",
    {},
    make("span", { class: "number" }, `v${version}`),
    make(
      "span",
      { class: "title" },
      title || "Untitled",
      make("span", { class: "snippet" }, blob.slice(0, SNIPPET_CHARS_MAX)),
    ),
    timeOf(updatedAt),
  );
  const text = make("pre", {}, blob || "No text.");
  return make(
    "li",
    { "data-version": version },
    make("details", {}, summary, text),
    make("span", { class: "current" }, "current"),
    revert,
  );
}
