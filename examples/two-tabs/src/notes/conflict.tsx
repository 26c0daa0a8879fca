// Two people wrote on the same version: nothing is lost, and one of them decides.

import type { NoteData } from "@dormouse/client";

import { when } from "../words";
import type { Draft } from "./draft";

interface ConflictProps {
  readonly theirs: NoteData;
  readonly mine: Draft;
  readonly onTakeTheirs: () => void;
  readonly onKeepMine: () => void;
}

export function Conflict({ theirs, mine, onTakeTheirs, onKeepMine }: ConflictProps) {
  return (
    <section className="conflict" role="alert" data-testid="note-conflict">
      <p>
        <strong>Version {theirs.version} was saved elsewhere</strong>{" "}
        <span className="soft">
          {when(theirs.updatedAt)}, while you were writing on version {mine.base}.
        </span>
      </p>
      <blockquote data-testid="note-theirs">
        {theirs.title !== mine.title && <b>{theirs.title}</b>}
        {theirs.blob || <span className="soft">(no text)</span>}
      </blockquote>
      <div className="choice">
        <button type="button" className="button" data-testid="take-theirs" onClick={onTakeTheirs}>
          Take theirs
        </button>
        <button type="button" className="button primary" data-testid="keep-mine" onClick={onKeepMine}>
          Save mine over it
        </button>
      </div>
    </section>
  );
}
