// What a channel's socket says, and what it is told.

/** Somebody in a channel. */
export interface ChannelUser {
  /** Who: the `sub` of their token. */
  readonly userId: string;
  /** What they are called. */
  readonly username: string;
  /** Their picture, if their token names one. */
  readonly avatarUrl?: string;
  /** When they came, as RFC 3339. */
  readonly joinedAt?: string;
  /** What they said of themselves last: see {@link Channel.setPresence}. */
  readonly status?: string;
}

/** A message that the server has stored. */
export interface ChannelMessage {
  /** A UUIDv7. */
  readonly id: string;
  /** Where it was said. */
  readonly channelId: string;
  /** Who said it. */
  readonly userId: string;
  /** What they were called then. */
  readonly username: string;
  /** Their picture, if their token named one. */
  readonly avatarUrl?: string;
  /** Text, as it was written: whoever shows it must not take it for HTML. */
  readonly content: string;
  /** When, in milliseconds since 1970. */
  readonly timestamp: number;
  /** The message that it answers, if it is part of a thread. */
  readonly threadId?: string;
}

/** The answer to a message: it is stored. */
export interface Ack {
  /** The id that it has from now on. */
  readonly messageId: string;
  /** When it was stored, in milliseconds since 1970. */
  readonly timestamp: number;
}

/** What a channel's socket receives. */
export type ChannelFrame =
  | {
      readonly type: "initial_state";
      readonly messages: readonly ChannelMessage[];
      readonly onlineUsers: readonly ChannelUser[];
      readonly total?: number;
    }
  | { readonly type: "message"; readonly message: ChannelMessage; readonly offset?: number }
  | ({ readonly type: "ack"; readonly clientId?: string } & Ack)
  | { readonly type: "synced"; readonly lastMessageId: string; readonly more: boolean }
  | { readonly type: "read"; readonly userId: string; readonly messageId: string }
  | ({ readonly type: "typing"; readonly isTyping: boolean } & ChannelUser)
  | ({ readonly type: "presence"; readonly status: string } & ChannelUser)
  | ({ readonly type: "user_connected" | "user_disconnected" } & ChannelUser)
  | { readonly type: "online"; readonly onlineUsers: readonly ChannelUser[]; readonly total?: number };

/** What a page of history is asked for with. */
export interface ChannelHistoryInput {
  /** Only messages before this one; from the newest if left out. */
  readonly before?: string;
  /** At most so many, 1 to 200; 50 if left out. */
  readonly limit?: number;
}

/** A page of history. */
export interface ChannelHistory {
  /** Newest first. */
  readonly messages: readonly ChannelMessage[];
  /** Pass it as `before` for the next page; absent on the last one. */
  readonly next?: string;
}

/** A thread. */
export interface ChannelThread {
  /** Oldest first; the message that began it is the first. */
  readonly messages: readonly ChannelMessage[];
}

/** Everybody who ever was in a channel. */
export interface ChannelMembers {
  /** In the order in which they came. */
  readonly members: readonly ChannelUser[];
}

/** The kind, as far as it is asked by RPC. */
export interface ChannelKinds {
  channel: {
    id: "id";
    event: ChannelFrame;
    methods: {
      history: { kind: "query"; input: ChannelHistoryInput; output: ChannelHistory };
      thread: { kind: "query"; input: { threadId: string }; output: ChannelThread };
      members: { kind: "query"; input: Record<never, never>; output: ChannelMembers };
      post: { kind: "mutation"; input: { content: string; threadId?: string; clientId?: string }; output: Ack };
    };
    listings: Record<never, never>;
  };
}
