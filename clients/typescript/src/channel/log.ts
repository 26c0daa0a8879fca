// A channel's messages as far as they are known here: in order, each once, without a gap.

import type { ChannelMessage } from "../generated.js";

/** What `initial_state` brings at most: with fewer there is nothing older. */
const INITIAL_MESSAGES_MAX = 50;

/** Most messages that are kept. The oldest go, and can be asked for again. */
const MESSAGES_MAX = 5_000;

/** So often the server is asked for the rest of what was missed, 500 messages at a time. Past it what is older is forgotten. */
const SYNC_ROUNDS_MAX = 8;

/** A message, and the name that this client gave to it if it is one of its own. */
export interface LoggedMessage extends ChannelMessage {
  readonly clientId?: string;
}

/** A channel's messages. */
export class MessageLog {
  #messages: LoggedMessage[] = [];
  #known = new Set<string>();
  /** What the server said beyond a gap that is being filled; `null` without one. */
  #beyond: LoggedMessage[] | null = null;
  #rounds = 0;
  #isOutdated = false;
  #hasOlder = false;

  /** Oldest first. The same array until it is changed by the next call. */
  get messages(): readonly LoggedMessage[] {
    return this.#messages;
  }

  /** Whether the server may have messages that are older than these. */
  get hasOlder(): boolean {
    return this.#hasOlder;
  }

  /** The message after which some are missing; `null` if none are. */
  get gapAfter(): string | null {
    return this.#beyond === null ? null : (this.#messages.at(-1)?.id ?? null);
  }

  /** Whether this message is among those that are shown. */
  has(id: string): boolean {
    return this.#known.has(id);
  }

  /** Takes the newest messages of the channel. What is known stays if it fits, or if what is between can be fetched. */
  replace(newest: readonly ChannelMessage[]): void {
    const own = this.#messages;
    const shared = newest.findIndex(({ id }) => this.#known.has(id));
    const at = shared < 0 ? -1 : own.findIndex(({ id }) => id === newest[shared]?.id);
    this.#beyond = null;
    if (this.#isOutdated || own.length === 0 || newest.length === 0 || at === 0) this.#reset(newest);
    else if (at > 0) this.#set([...own.slice(0, at), ...this.#labelled(newest.slice(shared))]);
    else {
      this.#beyond = [...newest];
      this.#rounds = 0;
    }
  }

  /** Takes one message more. `isMissed` are those that fill a gap. */
  add(message: ChannelMessage, isMissed: boolean): void {
    if (this.#beyond !== null && !isMissed) this.#beyond.push(message);
    else this.#append([message]);
  }

  /** The server has said what was missed, or `more` will follow when it is asked again. */
  synced(more: boolean): void {
    this.#rounds += 1;
    if (more && this.#rounds < SYNC_ROUNDS_MAX) return;
    if (more) this.giveUp();
    const beyond = this.#beyond ?? [];
    this.#beyond = null;
    this.#append(beyond);
  }

  /** What is missing cannot be had: what came before it is forgotten. */
  giveUp(): void {
    const beyond = this.#beyond;
    this.#beyond = null;
    if (beyond !== null) this.#reset(beyond);
  }

  /** The server does not know these messages: the next state replaces them. */
  outdate(): void {
    this.#isOutdated = true;
  }

  /** Takes a page of older messages, oldest first. */
  prepend(older: readonly ChannelMessage[], hasOlder: boolean): void {
    this.#hasOlder = hasOlder;
    this.#set([...older.filter(({ id }) => !this.#known.has(id)), ...this.#messages]);
  }

  /** Says which of this client's messages this is, or that it is none. */
  label(id: string, clientId: string | undefined): void {
    const at = this.#messages.findIndex((message) => message.id === id);
    const { clientId: _, ...message } = this.#messages[at] ?? {};
    if (at >= 0) this.#messages[at] = { ...(message as ChannelMessage), ...(clientId !== undefined && { clientId }) };
  }

  /** Whether one message comes after another. What is not known here is judged by its id: those of messages rise with time. */
  isAfter(id: string, other: string): boolean {
    if (!this.#known.has(id) || !this.#known.has(other)) return id > other;
    const first = this.#messages.find((message) => message.id === id || message.id === other);
    return id !== other && first?.id === other;
  }

  /** Those after a message; all without one. */
  after(id: string | null): readonly LoggedMessage[] {
    if (id === null) return this.#messages;
    const known = this.#messages.findIndex((message) => message.id === id);
    return known >= 0 ? this.#messages.slice(known + 1) : this.#messages.filter((message) => message.id > id);
  }

  #append(messages: readonly LoggedMessage[]): void {
    const fresh = messages.filter(({ id }) => !this.#known.has(id));
    for (const message of fresh) {
      this.#messages.push(message);
      this.#known.add(message.id);
    }
    if (this.#messages.length <= MESSAGES_MAX) return;
    this.#hasOlder = true;
    this.#set(this.#messages.slice(-MESSAGES_MAX));
  }

  #reset(newest: readonly LoggedMessage[]): void {
    this.#isOutdated = false;
    this.#hasOlder = newest.length >= INITIAL_MESSAGES_MAX;
    this.#set(this.#labelled(newest));
  }

  #set(messages: LoggedMessage[]): void {
    this.#messages = messages;
    this.#known = new Set(messages.map(({ id }) => id));
  }

  /** As they are known, where they are: with their names. */
  #labelled(messages: readonly LoggedMessage[]): LoggedMessage[] {
    const own = new Map(this.#messages.map((message) => [message.id, message]));
    return messages.map((message) => own.get(message.id) ?? message);
  }
}
