// What somebody writes and has not saved. It belongs to the version that it was begun on.

import type { NoteData } from "@dormouse/client";

export interface Draft {
  readonly title: string;
  readonly blob: string;
  /** Saving says that this is the newest version: if it is not, the server refuses. */
  readonly base: number;
}

/** A note with something changed in it. */
export function edited(
  note: NoteData,
  draft: Draft | null,
  change: Partial<Pick<Draft, "title" | "blob">>,
): Draft | null {
  const { title, blob, base } = draft ?? { title: note.title, blob: note.blob, base: note.version };
  const next = { title, blob, base, ...change };
  const isAsSaved = next.base === note.version && next.title === note.title && next.blob === note.blob;
  return isAsSaved ? null : next;
}

/** Whether somebody else saved after the draft was begun. */
export function isOvertaken(note: NoteData, draft: Draft | null): draft is Draft {
  return draft !== null && note.version > draft.base;
}
