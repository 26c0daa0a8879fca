// The list of a channel's messages: what is stored, and after it what is on its way.

import type { LoggedMessage } from "./log.js";
import type { Outgoing } from "./outbox.js";
import type { ListedMessage } from "./state.js";
import type { Person } from "./wire.js";

/** Lists messages. The same message is the same object until it changes: pages draw what is another. */
export class Listing {
  readonly #listed = new WeakMap<LoggedMessage | Outgoing, ListedMessage>();

  /** Both kinds, in this order. Those on their way are from `me`. */
  list(stored: readonly LoggedMessage[], underWay: readonly Outgoing[], me: Person | null): readonly ListedMessage[] {
    return [
      ...stored.map((message) => this.#stored(message)),
      ...underWay.map((message) => this.#underWay(message, me)),
    ];
  }

  #stored(message: LoggedMessage): ListedMessage {
    const present = this.#listed.get(message);
    if (present !== undefined) return present;
    const { id, clientId, userId, username, avatarUrl, content, timestamp, threadId } = message;
    const listed: ListedMessage = {
      key: clientId ?? id,
      id,
      userId,
      username,
      avatarUrl: avatarUrl ?? null,
      content,
      timestamp,
      threadId: threadId ?? null,
      state: "sent",
      error: null,
    };
    this.#listed.set(message, listed);
    return listed;
  }

  #underWay(message: Outgoing, me: Person | null): ListedMessage {
    const present = this.#listed.get(message);
    if (present !== undefined) return present;
    const { clientId, messageId, content, threadId, timestamp, state, error } = message;
    const listed: ListedMessage = {
      key: clientId,
      id: messageId ?? clientId,
      ...(me ?? { userId: "", username: "" }),
      content,
      timestamp,
      threadId: threadId ?? null,
      state,
      error,
    };
    // Whose it is, is not known before the first token is there.
    if (me !== null) this.#listed.set(message, listed);
    return listed;
  }
}
