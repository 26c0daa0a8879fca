// One note: its text, and what becomes of it when two people write.

import { DormouseError, type NoteData } from "@dormouse/client";
import { useNoteWebSocket } from "@dormouse/client/react";
import { useMutation, useQuery } from "@tanstack/react-query";
import { type KeyboardEvent, useState } from "react";

import { queries, useFollow } from "../dormouse";
import { useToast } from "../toasts";
import { Viewers } from "../viewers";
import { sentence, when } from "../words";
import { Conflict } from "./conflict";
import { type Draft, edited, isOvertaken } from "./draft";
import { NoteHistory } from "./history";

const TITLE_CHARS_MAX = 200;

export function NoteEditor({ id }: { id: string }) {
  useFollow("note", id);
  const { status } = useNoteWebSocket(id);
  const { data: note, error, isPending } = useQuery(queries.query("note", id, "get"));
  if (note !== undefined) return <OpenNote note={note} status={status} />;
  if (isPending) return <p className="card nothing empty">Opening…</p>;
  const isGone = error instanceof DormouseError && error.code === "NOT_FOUND";
  return (
    <div className="card nothing empty" data-testid="note-gone">
      <p>{isGone ? "This note is gone, or never was." : sentence(error)}</p>
      {isGone && <Recreate id={id} />}
      <a href="#/notes">All notes</a>
    </div>
  );
}

function Recreate({ id }: { id: string }) {
  const create = useMutation(queries.mutation("note", id, "create"));
  return (
    <button type="button" className="button" onClick={() => create.mutate({ title: "Untitled" })}>
      Begin it anew
    </button>
  );
}

function OpenNote({ note, status }: { note: NoteData; status: string }) {
  const { id } = note;
  const [draft, setDraft] = useState<Draft | null>(null);
  const toast = useToast();
  const update = useMutation(queries.mutation("note", id, "update"));
  const { title, blob } = draft ?? note;
  // While it is being saved the newer version may be this very draft.
  const isConflict = !update.isPending && isOvertaken(note, draft);

  const save = (saved: Draft): void => {
    const { title, blob, base } = saved;
    update.mutate(
      { title, blob, expectedVersion: base },
      {
        // What was written while it was being saved stays a draft, of the version that was made.
        onSuccess: ({ version }) =>
          setDraft((now) => (now === null || now === saved ? null : { ...now, base: version })),
        onError: (error) => {
          if (!(error instanceof DormouseError) || error.code !== "CONFLICT") toast(sentence(error), true);
        },
      },
    );
    setDraft(saved);
  };
  const change = (changed: Partial<Pick<Draft, "title" | "blob">>): void => setDraft(edited(note, draft, changed));
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== "s" || !(event.metaKey || event.ctrlKey)) return;
    event.preventDefault();
    if (draft !== null && !isConflict) save(draft);
  };

  return (
    <article className="card editor" data-note={id} data-status={status} onKeyDown={onKeyDown}>
      <a className="back" href="#/notes">
        ‹ All notes
      </a>
      <Viewers kind="note" id={id} />
      <textarea
        className="title"
        aria-label="Title"
        data-testid="note-title"
        maxLength={TITLE_CHARS_MAX}
        placeholder="Untitled"
        rows={1}
        value={title}
        onChange={({ target }) => change({ title: target.value.replace(/\s+/g, " ") })}
      />
      {isConflict && (
        <Conflict
          theirs={note}
          mine={draft}
          onTakeTheirs={() => setDraft(null)}
          onKeepMine={() => save({ ...draft, base: note.version })}
        />
      )}
      <textarea
        className="text"
        aria-label="Text"
        data-testid="note-blob"
        placeholder="Write something. Others see it when you save."
        value={blob}
        onChange={({ target }) => change({ blob: target.value })}
      />
      <footer>
        <button
          type="button"
          className="button primary"
          data-testid="note-save"
          disabled={draft === null || isConflict || update.isPending}
          onClick={() => draft !== null && save(draft)}
        >
          Save
        </button>
        <span className="soft" data-testid="note-state">
          {draft === null ? `Version ${note.version} · ${when(note.updatedAt)}` : "Not saved yet"}
        </span>
        <DeleteNote id={id} />
      </footer>
      <NoteHistory id={id} current={note.version} />
    </article>
  );
}

function DeleteNote({ id }: { id: string }) {
  const [isSure, setSure] = useState(false);
  const remove = useMutation(queries.mutation("note", id, "delete"));
  if (!isSure)
    return (
      <button type="button" className="link danger" data-testid="note-delete" onClick={() => setSure(true)}>
        Delete
      </button>
    );
  return (
    <span className="sure">
      <button
        type="button"
        className="button danger"
        data-testid="note-delete-surely"
        onClick={() => remove.mutate({})}
      >
        Delete for all
      </button>
      <button type="button" className="button" onClick={() => setSure(false)}>
        Keep
      </button>
    </span>
  );
}
