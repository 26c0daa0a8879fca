// Who is with an object, of any kind.

import type { ConnectionState } from "../connection.js";
import { PacedListeners } from "./paced.js";
import { Watch, type Watched } from "./watch.js";
import type { PresentUser } from "./wire.js";

/** Who is with an object, at one moment. A new object comes with every change. */
export interface PresenceState extends ConnectionState {
  /** Users, not tabs; of a large crowd some. As they were last seen while the connection is away. */
  readonly users: readonly PresentUser[];
  /** How many they are. */
  readonly total: number;
}

/** What a socket says that was opened with `?presence=1`. */
type PresenceFrame =
  | { readonly type: "presence_state"; readonly users: readonly PresentUser[]; readonly total?: number }
  | {
      readonly type: "presence_diff";
      readonly joins: readonly PresentUser[];
      readonly leaves: readonly PresentUser[];
      readonly total?: number;
    };

/** Who is with an object. It is known while somebody watches (`connect`), over the connection that the object has anyway. */
export class Presence {
  readonly #watch: Watch<PresenceFrame>;
  readonly #listeners = new PacedListeners();
  readonly #users = new Map<string, PresentUser>();
  #total: number | undefined;
  #state: PresenceState | null = null;

  /** Use {@link ChannelClient.presence}. */
  constructor(object: Watched) {
    this.#watch = new Watch(object, {
      types: ["presence_state", "presence_diff"],
      hear: (frame) => this.#hear(frame),
      changed: () => this.#changed(),
      isBusy: () => false,
      ended: () => {
        this.#users.clear();
        this.#total = undefined;
        this.#changed();
      },
    });
  }

  /** How things are. The same object until something changes. */
  get state(): PresenceState {
    const users = [...this.#users.values()];
    const total = Math.max(this.#total ?? 0, users.length);
    return (this.#state ??= { ...this.#watch.state, users, total });
  }

  /** Whether somebody needs it. */
  get isInUse(): boolean {
    return this.#watch.isOpen || this.#listeners.size > 0;
  }

  /** Calls `listener` when `state` has changed, until the function that it gives is called; of a burst not each time. Opens nothing. */
  onState(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Tells the server that this user is here, and learns who else is, until the function that it gives is called. */
  connect(): () => void {
    return this.#watch.open();
  }

  /** Ends it now, whoever watches: the client is closed. */
  end(): void {
    this.#watch.end();
  }

  #hear(frame: PresenceFrame): void {
    if (frame.type === "presence_state") this.#users.clear();
    const { joins, leaves } = frame.type === "presence_state" ? { joins: frame.users, leaves: [] } : frame;
    for (const { userId } of leaves) this.#users.delete(userId);
    for (const user of joins) this.#users.set(user.userId, user);
    this.#total = frame.total;
    this.#changed();
  }

  #changed(): void {
    this.#state = null;
    this.#listeners.tell();
  }
}
