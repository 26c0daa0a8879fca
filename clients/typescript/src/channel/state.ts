// A channel as it is shown.

import type { ConnectionState } from "../connection.js";
import type { DormouseError } from "../errors.js";
import type { MessageState } from "./outbox.js";
import type { OnlineUser, Person } from "./wire.js";

/** A message of a channel's list: stored, or on its way. */
export interface ListedMessage extends Person {
  /** Stays the same from the first moment on, unlike `id`: for lists. */
  readonly key: string;
  /** What the server calls it, a UUIDv7; until it is stored the same as `key`. */
  readonly id: string;
  /** Text, as it was written: whoever shows it must not take it for HTML. */
  readonly content: string;
  /** When it was stored, before that when it was written, in milliseconds since 1970. */
  readonly timestamp: number;
  /** The thread that it is part of: the id of the message that began it. */
  readonly threadId: string | null;
  /** Where it stands. All messages of others are `sent`. */
  readonly state: MessageState;
  /** Why it failed. */
  readonly error: DormouseError | null;
}

/** A channel at one moment. A new object comes with every change. */
export interface ChannelState extends ConnectionState {
  /** Whether the server has said what is in the channel. */
  readonly isLoaded: boolean;
  /** Oldest first, without a gap, each once; threads too. Those on their way are the last. */
  readonly messages: readonly ListedMessage[];
  /** Whether there may be older ones: {@link Channel.loadOlder}. */
  readonly hasOlder: boolean;
  /** Who this client is, as its token says; `null` before it was asked for, or if it cannot be read. */
  readonly me: Person | null;
  /** Who is here; in a large channel some of them. */
  readonly onlineUsers: readonly OnlineUser[];
  /** How many are here. */
  readonly onlineTotal: number;
  /** Who is writing, without this user. */
  readonly typingUsers: readonly Person[];
  /** The newest message that each has read, by user. */
  readonly receipts: ReadonlyMap<string, string>;
  /** The newest message that this user has read. */
  readonly lastReadId: string | null;
  /** How many of the messages after that are somebody else's. */
  readonly unread: number;
}
