// Who is in a channel, who is writing, and how far everybody has read.

import type { ChannelUser } from "../generated.js";
import type { OnlineUser, Person } from "./wire.js";

/** Who is writing says so every three seconds; after so long without it they have stopped, in milliseconds. */
const TYPING_MS = 6_500;

/** The people of one channel. */
export class People {
  readonly #online = new Map<string, OnlineUser>();
  readonly #typing = new Map<string, { readonly user: Person; readonly until: number }>();
  readonly #receipts = new Map<string, string>();
  #total: number | null = null;

  /** Who is here; in a large channel some of them. */
  get online(): readonly OnlineUser[] {
    return [...this.#online.values()];
  }

  /** How many are here. */
  get total(): number {
    return Math.max(this.#total ?? 0, this.#online.size);
  }

  /** Who is writing. */
  get typing(): readonly Person[] {
    return Array.from(this.#typing.values(), ({ user }) => user);
  }

  /** The newest message that each has read, by user. */
  get receipts(): ReadonlyMap<string, string> {
    return new Map(this.#receipts);
  }

  /** When the next of those who write is taken to have stopped, in milliseconds since 1970; `Infinity` if nobody writes. */
  get nextExpiry(): number {
    return Math.min(...Array.from(this.#typing.values(), ({ until }) => until));
  }

  /** Takes the whole list. What those said of themselves who are still here is still so: it is in no list. */
  replace(users: readonly ChannelUser[], total: number | null | undefined): void {
    const before = new Map(this.#online);
    this.#online.clear();
    this.#total = total ?? null;
    for (const user of users) {
      const status = before.get(user.userId)?.status;
      this.#online.set(user.userId, { ...user, ...(status !== undefined && { status }) });
    }
  }

  /** Somebody came. */
  see({ userId, username, joinedAt, avatarUrl = null }: ChannelUser): void {
    this.#online.set(userId, { userId, username, joinedAt, avatarUrl });
  }

  /** Somebody says something of themselves. */
  describe(userId: string, status: string): void {
    const user = this.#online.get(userId);
    if (user !== undefined) this.#online.set(userId, { ...user, status });
  }

  /** Somebody left. */
  lose(userId: string): void {
    this.#online.delete(userId);
    this.#typing.delete(userId);
  }

  /** Somebody writes, or has stopped. */
  type({ userId, username }: Person, isTyping: boolean, now: number): void {
    if (isTyping) this.#typing.set(userId, { user: { userId, username }, until: now + TYPING_MS });
    else this.#typing.delete(userId);
  }

  /** Those who did not say that they still write have stopped; without a time, all. */
  expire(now: number = Infinity): void {
    for (const [userId, { until }] of this.#typing) if (until <= now) this.#typing.delete(userId);
  }

  /** Somebody has read up to a message. */
  read(userId: string, messageId: string): void {
    this.#receipts.set(userId, messageId);
  }

  /** How far somebody has read. */
  readBy(userId: string): string | undefined {
    return this.#receipts.get(userId);
  }
}
