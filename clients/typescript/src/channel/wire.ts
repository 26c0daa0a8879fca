// The people of channels and of objects, and what a channel's socket says.

import type { ChannelEvent, ChannelUser, Kinds } from "../generated.js";
import type { Delivered } from "../kinds.js";

/** Somebody. */
export interface Person {
  /** Who: the `sub` of their token. */
  readonly userId: string;
  /** What they are called. */
  readonly username: string;
  /** Their picture, if their token names one. */
  readonly avatarUrl?: string | null;
}

/** Somebody who is in a channel now. */
export interface OnlineUser extends Readonly<ChannelUser> {
  /** What they said of themselves last, if that was since this client is here: see {@link Channel.setPresence}. */
  readonly status?: string;
}

/** Somebody who is with an object now. */
export interface PresentUser extends Person {
  /** When they came, as RFC 3339. */
  readonly joinedAt: string;
}

/** The answer to a message: it is stored. */
export interface Ack {
  /** The id that it has from now on. */
  readonly messageId: string;
  /** When it was stored, in milliseconds since 1970. */
  readonly timestamp: number;
}

/** What a channel's socket receives. */
export type ChannelFrame = Delivered<ChannelEvent>;

/** The one kind that channels need. */
export type ChannelKinds = Pick<Kinds, "channel">;
