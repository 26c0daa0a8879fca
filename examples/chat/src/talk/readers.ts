// How far the others have read, at the message that is the last one for each.

import type { ListedMessage, Person } from "@dormouse/client/channel";
import type { LiveChannel } from "@dormouse/client/react";

/** The others whose newest read message this is, or is in a thread right after this. */
export function readersByMessage({ messages, receipts, onlineUsers, me }: LiveChannel): ReadonlyMap<string, Person[]> {
  const people = new Map<string, Person>();
  for (const { userId, username, avatarUrl = null } of [...messages, ...onlineUsers]) {
    people.set(userId, { userId, username, avatarUrl });
  }
  const places = new Map(messages.map(({ id }, index) => [id, index]));
  const readers = new Map<string, Person[]>();
  for (const [userId, messageId] of receipts) {
    const shown = lastShown(messages, places.get(messageId));
    if (userId === me?.userId || shown === undefined) continue;
    readers.set(shown.id, [...(readers.get(shown.id) ?? []), people.get(userId) ?? { userId, username: userId }]);
  }
  return readers;
}

/** The last message up to a place that is not part of a thread. */
function lastShown(messages: readonly ListedMessage[], place: number | undefined): ListedMessage | undefined {
  return place === undefined ? undefined : messages.slice(0, place + 1).findLast(({ threadId }) => threadId === null);
}
