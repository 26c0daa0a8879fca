// What the server's kinds say and hear. Generated from its Rust types by `dormouse types`; do not edit.

/** The input of a method that takes nothing but the object's id. */
export type Empty = Record<never, never>;

/** RFC 3339 with milliseconds, in UTC, such as `2025-01-15T12:00:00.000Z`. */
export type Timestamp = string;

/** What a channel's sockets receive. */
export type ChannelEvent =
  /** The whole state, on connect. */
  | {
      type: "initial_state";
      /** The newest 50, oldest first. */
      messages: ChannelMessage[];
      /** All; or some, if they are many. */
      onlineUsers: ChannelUser[];
      /** The newest message that the user of this socket has read, if they said so. */
      lastReadMessageId?: string | null;
      /** How many they are, if those are not all. */
      totalOnline?: number | null;
    }
  /** A message that somebody wrote. */
  | {
      type: "message";
      /** It. */
      message: ChannelMessage;
    }
  /** A message of this socket is stored. */
  | {
      type: "ack";
      /** What it is called from now on. */
      messageId: string;
      /** When it was stored, in milliseconds since 1970. */
      timestamp: number;
      /** What its client called it. */
      clientId?: string | null;
    }
  /** Somebody types, or does not any more. */
  | {
      type: "typing";
      /** Who. */
      userId: string;
      /** Their name. */
      username: string;
      /** Which of both. */
      isTyping: boolean;
    }
  /** Somebody says how present they are. */
  | {
      type: "presence";
      /** Who. */
      userId: string;
      /** Their name. */
      username: string;
      /** In their own words, such as `away`. */
      status: string;
    }
  /** All that a `sync` asked for was sent. */
  | {
      type: "synced";
      /** The newest message that was sent, or the one that was named if there was none. */
      lastMessageId: string;
      /** Whether there are newer ones, to be asked for again. */
      more: boolean;
    }
  /** Somebody has read the messages up to this one. */
  | {
      type: "read";
      /** Who. */
      userId: string;
      /** The newest message that they have read. */
      messageId: string;
    }
  /** Somebody came. */
  | ({ type: "user_connected" } & ChannelUser)
  /** Somebody left. */
  | {
      type: "user_disconnected";
      /** Who. */
      userId: string;
      /** Their name. */
      username: string;
    }
  /** Who is present, in place of all that was said before. */
  | ({ type: "online" } & ChannelOnlineUsers)
  /** A message of this socket was refused. */
  | {
      type: "error";
      /** Why, for people. */
      message: string;
      /** Why, for programs. */
      code: ChannelErrorName;
    };

/** One message. */
export interface ChannelMessage {
  /** A UUIDv7. */
  id: string;
  /** The channel it is in. */
  channelId: string;
  /** Who wrote it. */
  userId: string;
  /** Their name when they did. */
  username: string;
  /** What they wrote: text, never markup. */
  content: string;
  /** When it was stored, in milliseconds since 1970. */
  timestamp: number;
  /** Address of their picture, if they have one. */
  avatarUrl?: string | null;
  /** The thread it belongs to: the id of the message that began it. */
  threadId?: string | null;
}

/** Somebody who is present. */
export interface ChannelUser {
  /** The user's id. */
  userId: string;
  /** Their name. */
  username: string;
  /** When they came, in milliseconds since 1970. */
  joinedAt: number;
  /** Address of their picture, if they have one. */
  avatarUrl?: string | null;
}

/** Who is present. */
export interface ChannelOnlineUsers {
  /** All; or some, if they are many. */
  onlineUsers: ChannelUser[];
  /** How many they are, if those are not all. */
  totalOnline?: number | null;
}

/** Why a channel refused a message, beside the codes that all kinds have. */
export type ChannelErrorName = "unknown_message";

/** `message`, and the input of `post`. */
export interface ChannelPost {
  /** What to write. */
  content: string;
  /**
   * What the client calls it. Sent again under the same name by the same user, it is the same
   * message.
   */
  clientId?: string | null;
  /** The thread it belongs to. */
  threadId?: string | null;
}

/** Input of `history`. */
export interface ChannelGetHistory {
  /** Only messages before the one of this id; from the newest if left out. */
  before?: string | null;
  /** At most so many, 1 to 200; 50 if left out. */
  limit?: number;
}

/** Result of `history`. */
export interface ChannelHistory {
  /** Newest first. */
  messages: ChannelMessage[];
  /** Pass it as `before` for the next page; absent on the last one. */
  next?: string;
}

/** Input of `thread`. */
export interface ChannelGetThread {
  /** Which one. */
  threadId: string;
  /** Only messages after the one of this id; from the oldest if left out. */
  after?: string | null;
  /** At most so many, 1 to 200; 50 if left out. */
  limit?: number;
}

/** Result of `thread`. */
export interface ChannelThread {
  /** The message that began it, if it is there, and those of the thread, oldest first. */
  messages: ChannelMessage[];
  /** Pass it as `after` for the next page; absent on the last one. */
  next?: string;
}

/** Result of `members`. */
export interface ChannelMembers {
  /** Those who have ever written or read, by id, and those who are present: 1,000 at most. */
  members: ChannelMember[];
}

/** Somebody of a channel. */
export interface ChannelMember {
  /** The user's id. */
  userId: string;
  /** Their name. */
  username: string;
  /** Whether they are present. */
  isOnline: boolean;
  /** Address of their picture, if they have one. */
  avatarUrl?: string;
  /** When they last wrote or read; absent if they never did. */
  lastActiveAt?: Timestamp;
  /** The newest message that they have read, if they said so. */
  lastReadMessageId?: string;
}

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
  channel: {
    id: "id";
    event: ChannelEvent;
    methods: {
      post: { kind: "mutation"; input: ChannelPost; output: ChannelMessage };
      history: { kind: "query"; input: ChannelGetHistory; output: ChannelHistory };
      thread: { kind: "query"; input: ChannelGetThread; output: ChannelThread };
      members: { kind: "query"; input: Empty; output: ChannelMembers };
    };
    listings: Empty;
  };
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
export const ID_FIELDS = { channel: "id", counter: "name", note: "id" } as const;
