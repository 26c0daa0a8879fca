// Messages on their way: kept until the server has stored them, and sent again under the same name after a cut.

import { DormouseError } from "../errors.js";
import type { Ack } from "./wire.js";

/** Most messages of one channel that wait. */
const MESSAGES_WAITING_MAX = 1_000;

/** So many are sent before the first of them is answered: servers count messages per second. */
const UNANSWERED_MAX = 16;

const NAME_WORDS = 4;

/** Where a message stands. `sending` includes waiting for the connection; after `failed` it may be sent again by hand. */
export type MessageState = "sending" | "sent" | "failed";

/** A message on its way. A new object comes with every change. */
export interface Outgoing {
  readonly clientId: string;
  readonly content: string;
  readonly threadId: string | undefined;
  readonly state: MessageState;
  readonly error: DormouseError | null;
  /** When it was written, and later when it was stored, in milliseconds since 1970. */
  readonly timestamp: number;
  /** The id that the server gave to it. */
  readonly messageId: string | null;
  /** Whether it was sent over the present connection. */
  readonly isUnderWay: boolean;
  /** Whether the server may know it. */
  readonly wasSent: boolean;
}

interface Waiting {
  readonly resolve: (ack: Ack) => void;
  readonly reject: (error: DormouseError) => void;
}

/** One channel's messages on their way, oldest first. */
export class Outbox {
  readonly #messages = new Map<string, Outgoing>();
  readonly #waiting = new Map<string, Waiting>();
  #lastSent: string | undefined;

  /** Oldest first. */
  get messages(): readonly Outgoing[] {
    return [...this.#messages.values()];
  }

  /** Whether some will be sent by themselves. */
  get isBusy(): boolean {
    return this.messages.some(({ state }) => state === "sending");
  }

  /** The message of this name. */
  find(clientId: string | null | undefined): Outgoing | undefined {
    return this.#messages.get(clientId ?? "");
  }

  /** Takes a message. Resolves once it is stored, rejects with a {@link DormouseError}; whoever does not listen is not bothered. */
  add(content: string, threadId: string | undefined): Promise<Ack> {
    if (this.#messages.size >= MESSAGES_WAITING_MAX) {
      return Promise.reject(new DormouseError("QUEUE_FULL", `${MESSAGES_WAITING_MAX} messages wait already`));
    }
    const clientId = crypto.getRandomValues(new Uint32Array(NAME_WORDS)).join("-");
    this.#messages.set(clientId, {
      clientId,
      content,
      threadId,
      state: "sending",
      error: null,
      timestamp: Date.now(),
      messageId: null,
      isUnderWay: false,
      wasSent: false,
    });
    const stored = new Promise<Ack>((resolve, reject) => this.#waiting.set(clientId, { resolve, reject }));
    stored.catch(() => {});
    return stored;
  }

  /** Those to send now, in order. They count as sent. */
  next(): readonly Outgoing[] {
    const all = this.messages.filter(({ state }) => state === "sending");
    const room = UNANSWERED_MAX - all.filter(({ isUnderWay }) => isUnderWay).length;
    const now = all.filter(({ isUnderWay }) => !isUnderWay).slice(0, room);
    for (const { clientId } of now) {
      this.#change(clientId, { isUnderWay: true, wasSent: true });
      this.#lastSent = clientId;
    }
    return now;
  }

  /** The server has stored a message. */
  acknowledge(clientId: string, { messageId, timestamp }: Ack): void {
    this.#change(clientId, { state: "sent", error: null, messageId, timestamp, isUnderWay: false });
    this.#waiting.get(clientId)?.resolve({ messageId, timestamp });
    this.#waiting.delete(clientId);
  }

  /** Takes a stored message for this one, until its answer says which it is. */
  claim(clientId: string, messageId: string): void {
    this.#change(clientId, { messageId });
  }

  /** The server, or the connection, refused a message. */
  refuse(clientId: string, error: DormouseError): void {
    this.#change(clientId, { state: "failed", error, isUnderWay: false });
    this.#waiting.get(clientId)?.reject(error);
    this.#waiting.delete(clientId);
  }

  /** The oldest that waits for an answer over the present connection. */
  get oldestUnderWay(): string | undefined {
    return this.messages.find(({ isUnderWay }) => isUnderWay)?.clientId;
  }

  /** The connection was lost. All are sent again, except the last one if the server failed: it may be what it fails on. */
  cut(hasServerFailed: boolean): void {
    const last = this.#messages.get(this.#lastSent ?? "");
    if (hasServerFailed && last?.isUnderWay) {
      const message = "the server failed on this connection";
      this.refuse(last.clientId, new DormouseError("CONNECTION_LOST", message, { isOutcomeUnknown: true }));
    }
    for (const { clientId } of this.messages) this.#change(clientId, { isUnderWay: false });
  }

  /** Refuses all that wait. */
  refuseAll({ code, message }: DormouseError): void {
    for (const { clientId, state, wasSent } of this.messages) {
      if (state === "sending") this.refuse(clientId, new DormouseError(code, message, { isOutcomeUnknown: wasSent }));
    }
  }

  /** Sends one that failed again, under the same name: it is stored once, whatever became of the first try. */
  retry(clientId: string): void {
    if (this.#messages.get(clientId)?.state === "failed") this.#change(clientId, { state: "sending", error: null });
  }

  /** Forgets one: it is among the channel's messages, or nobody wants it any more. */
  remove(clientId: string): void {
    this.#messages.delete(clientId);
  }

  #change(clientId: string, change: Partial<Outgoing>): void {
    const message = this.#messages.get(clientId);
    if (message !== undefined) this.#messages.set(clientId, { ...message, ...change });
  }
}
