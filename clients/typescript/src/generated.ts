// What the server's kinds say and hear. Generated from its Rust types by `dormouse types`; do not edit.

/** The input of a method that takes nothing but the object's id. */
export type Empty = Record<never, never>;

/** RFC 3339 with milliseconds, in UTC, such as `2025-01-15T12:00:00.000Z`. */
export type Timestamp = string;

/** What a counter's sockets receive. */
export type CounterEvent =
  /** The whole state, on connect. */
  | {
      type: "initial";
      /** Now. */
      value: number;
      /** With it. */
      metadata: CounterMetadata;
      /** When this was read. */
      timestamp: Timestamp;
    }
  /** An amount was added. */
  | ({ type: "increment" } & CounterChanged)
  /** An amount was taken away. */
  | ({ type: "decrement" } & CounterChanged)
  /** The value was set. */
  | ({ type: "setValue" } & CounterChanged)
  /** The value was set to zero. */
  | ({ type: "reset" } & CounterChanged);

/** A counter's row, as clients see it. */
export interface CounterMetadata {
  /** Always 1: the row's id in the counter's own database. */
  id: number;
  /** The counter's name. */
  name: string;
  /** Its value. */
  value: number;
  /** First mutation. */
  createdAt: Timestamp;
  /** Latest mutation. */
  updatedAt: Timestamp;
  /** How many mutations there were. */
  operationCount: number;
}

/** One change of the value. */
export interface CounterChanged {
  /** After the change. */
  value: number;
  /** Before it. */
  previousValue: number;
  /** After the change. */
  metadata: CounterMetadata;
  /** When. */
  timestamp: Timestamp;
}

/** Input of `increment` and `decrement`. */
export interface CounterStep {
  /** By how much; 1 if left out. */
  amount?: number;
}

/** Input of `setValue`. */
export interface CounterSetValue {
  /** The new value. */
  value: number;
}

/** Result of `getValue`. */
export interface CounterValue {
  /** The value now. */
  value: number;
}

/** Input of `getHistory`. */
export interface CounterGetHistory {
  /** Only operations older than this offset; from the newest if left out. */
  before?: number | null;
  /** At most so many, 1 to 200; 50 if left out. */
  limit?: number;
}

/** Result of `getHistory`. */
export interface CounterHistory {
  /** Newest first. */
  operations: CounterOperation[];
  /** Pass it as `before` for the next page; absent on the last one. */
  next?: number;
}

/** One operation of the past. */
export interface CounterOperation {
  /** Its place in the event log. */
  offset: number;
  /** What was done. */
  type: CounterOperationType;
  /** The value after it. */
  value: number;
  /** The value before it. */
  previousValue: number;
  /** When. */
  timestamp: Timestamp;
}

/** The mutation behind an operation. */
export type CounterOperationType = "increment" | "decrement" | "setValue" | "reset";

/** What a note's sockets receive. */
export type NoteEvent =
  /** The note, on connect, if it exists. */
  | {
      type: "initial";
      /** Its newest version. */
      data: NoteData;
    }
  /** It was created. */
  | {
      type: "create";
      /** Version 1. */
      data: NoteData;
      /** The history that offsets belong to: who waited for the note got no `initial`. */
      epoch: string;
    }
  /** Title or blob changed. */
  | {
      type: "update";
      /** The new version. */
      data: NoteData;
    }
  /** It says again what an older version said. */
  | {
      type: "revert";
      /** The new version. */
      data: NoteData;
    }
  /** It is gone, and its versions with it. */
  | {
      type: "delete";
      /** Which note. */
      data: NoteDeleted;
    };

/** One version of a note, as clients see it. */
export interface NoteData {
  /** The note's id. */
  id: string;
  /** 1 for the creation, one more for every change. */
  version: number;
  /** At most 200 characters. */
  title: string;
  /** At most 1 MiB. */
  blob: string;
  /** When version 1 was made. */
  createdAt: Timestamp;
  /** When this version was made. */
  updatedAt: Timestamp;
}

/** Result of `delete`. */
export interface NoteDeleted {
  /** The note's id. */
  id: string;
}

/** Input of `create`. */
export interface NoteCreate {
  /** At most 200 characters, no control characters. */
  title: string;
  /** At most 1 MiB; empty if left out. */
  blob?: string;
}

/** Input of `update`. What is left out stays as it is. */
export interface NoteUpdate {
  /** The new blob. */
  blob?: string | null;
  /** Refuse with CONFLICT unless this is the newest version. */
  expectedVersion?: number | null;
  /** The new title. */
  title?: string | null;
}

/** Input of `revert`. */
export interface NoteRevert {
  /** The version whose title and blob become the newest one's. */
  version: number;
}

/** Input of `history`. */
export interface NoteGetHistory {
  /** Only versions below this one; from the newest if left out. */
  before?: number | null;
  /** At most so many, 1 to 200; 50 if left out. */
  limit?: number;
}

/** Result of `history`. */
export interface NoteHistory {
  /** Newest first. */
  versions: NoteData[];
  /** Pass it as `before` for the next page; absent on the last one. */
  next?: number;
}

/** Input of `list`. */
export interface NoteListInput {
  /** Only notes whose id sorts after this one; from the first if left out. */
  after?: string | null;
  /** At most so many, 1 to 200; 50 if left out. */
  limit?: number;
}

/** Result of `list`. */
export interface NoteList {
  /** By id. */
  notes: NoteSummary[];
  /** Pass it as `after` for the next page; absent on the last one. */
  next?: string;
}

/** One note in a list. */
export interface NoteSummary {
  /** Its id. */
  id: string;
  /** Its title. */
  title: string;
  /** Its newest version. */
  version: number;
  /** When that was made. */
  updatedAt: Timestamp;
}

/**
 * Every kind of this server: the input field that names an object (`id`), what its sockets receive (`event`), its
 * methods, and what is asked of all its objects together (`listings`). The inputs of `methods` are without the `id` field;
 * a `creation` may be called without it, and the server makes one.
 */
export interface Kinds {
  counter: {
    id: "name";
    event: CounterEvent;
    methods: {
      increment: { kind: "mutation"; input: CounterStep; output: CounterEvent };
      decrement: { kind: "mutation"; input: CounterStep; output: CounterEvent };
      setValue: { kind: "mutation"; input: CounterSetValue; output: CounterEvent };
      reset: { kind: "mutation"; input: Empty; output: CounterEvent };
      getValue: { kind: "query"; input: Empty; output: CounterValue };
      getMetadata: { kind: "query"; input: Empty; output: CounterMetadata };
      getHistory: { kind: "query"; input: CounterGetHistory; output: CounterHistory };
    };
    listings: Empty;
  };
  note: {
    id: "id";
    event: NoteEvent;
    methods: {
      create: { kind: "creation"; input: NoteCreate; output: NoteData };
      update: { kind: "mutation"; input: NoteUpdate; output: NoteData };
      revert: { kind: "mutation"; input: NoteRevert; output: NoteData };
      delete: { kind: "mutation"; input: Empty; output: NoteDeleted };
      get: { kind: "query"; input: Empty; output: NoteData };
      history: { kind: "query"; input: NoteGetHistory; output: NoteHistory };
    };
    listings: {
      list: { kind: "query"; input: NoteListInput; output: NoteList };
    };
  };
}

/** The procedures behind the flat names under `/api/v1`. */
export interface FlatNames {
  createNote: "note.create";
  updateNote: "note.update";
  revertNote: "note.revert";
  deleteNote: "note.delete";
  getNote: "note.get";
  getNoteHistory: "note.history";
  listNotes: "note.list";
}

/** The input field that names an object, by kind. */
export const ID_FIELDS = { counter: "name", note: "id" } as const;
