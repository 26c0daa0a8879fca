// All notes, and the one that is open.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { client, queries } from "../dormouse";
import { noteAddress } from "../route";
import { useToast } from "../toasts";
import { sentence, when } from "../words";
import { NoteEditor } from "./editor";

const NOTES_MAX = 200;

/** A list has no events of its own: notes that others create are seen after so long, in milliseconds. */
const LIST_INTERVAL_MS = 5_000;

export function NotesPage({ noteId }: { noteId: string | null }) {
  const listing = queries.listing("note", "list", { limit: NOTES_MAX });
  const { data, error } = useQuery({ ...listing, refetchInterval: LIST_INTERVAL_MS });
  const notes = [...(data?.notes ?? [])].sort((one, other) => other.updatedAt.localeCompare(one.updatedAt));
  return (
    <div className="notes" data-open={noteId !== null}>
      <aside className="card list" aria-label="All notes">
        <header>
          <h2>Notes</h2>
          <NewNote />
        </header>
        {error !== null && <p className="nothing">{sentence(error)}</p>}
        {data !== undefined && notes.length === 0 && <p className="nothing">There is no note yet.</p>}
        <ul data-testid="note-list">
          {notes.map(({ id, title, version, updatedAt }) => (
            <li key={id}>
              <a href={noteAddress(id)} aria-current={id === noteId ? "true" : undefined}>
                <span>{title || "Untitled"}</span>
                <span className="soft">
                  version {version} · {when(updatedAt)}
                </span>
              </a>
            </li>
          ))}
        </ul>
      </aside>
      {noteId === null ? (
        <p className="card nothing empty">Pick a note, or write a new one.</p>
      ) : (
        <NoteEditor key={noteId} id={noteId} />
      )}
    </div>
  );
}

function NewNote() {
  const toast = useToast();
  const cache = useQueryClient();
  const create = useMutation({
    mutationFn: () => client.object("note", crypto.randomUUID()).call("create", { title: "Untitled" }),
    onSuccess: ({ id }) => {
      location.hash = noteAddress(id);
      void cache.invalidateQueries({ queryKey: [["note", "list"]] });
    },
    onError: (error) => toast(sentence(error), true),
  });
  return (
    <button
      type="button"
      className="button primary"
      data-testid="new-note"
      disabled={create.isPending}
      onClick={() => create.mutate()}
    >
      New
    </button>
  );
}
