// What was read: whether somebody looks, where the new begins, and what the others are told.

import type { LiveChannel } from "@dormouse/client/react";
import { useCallback, useEffect, useState, useSyncExternalStore } from "react";

/** What the list of messages needs to know of reading. */
export interface Reading {
  /** The new begins after this message; `null` if there is nothing new, or all is. */
  readonly newAfterId: string | null;
  /** Says whether the newest message is in sight. */
  readonly setAtEnd: (isAtEnd: boolean) => void;
  /** Whoever writes has read. */
  readonly forgetMarker: () => void;
}

/** Marks as read what is in sight of somebody who looks, and remembers where the new began. */
export function useReading({ messages, unread, lastReadId, isLoaded, markRead }: LiveChannel): Reading {
  const isLooking = useIsLooking();
  const [isAtEnd, setAtEnd] = useState(false);
  const [newAfterId, setNewAfterId] = useState<string | null>(null);
  const newestId = messages.findLast(({ state }) => state === "sent")?.id;

  const isUnread = isLoaded && unread > 0;
  const isSeen = isLooking && isAtEnd;
  useEffect(() => {
    // What is read the moment it comes was never new. Where the new began counts, not what was read since.
    if (isUnread && !isSeen) setNewAfterId((before) => before ?? lastReadId);
  }, [isUnread, isSeen, lastReadId]);
  useEffect(() => {
    if (isUnread && isSeen && newestId !== undefined) markRead(newestId);
  }, [isUnread, isSeen, newestId, markRead]);
  return { newAfterId, setAtEnd, forgetMarker: useCallback(() => setNewAfterId(null), []) };
}

/** Learns how far the others had read before this page was opened. */
export function useReceipts({ isLoaded, channel }: LiveChannel): void {
  useEffect(() => {
    // Without them some faces are missing, and come with what is read next.
    if (isLoaded) channel.members().catch(() => {});
  }, [isLoaded, channel]);
}

/** Tells the others when this page is out of sight. */
export function useAway({ isConnected, setPresence }: LiveChannel): void {
  const isVisible = useSyncExternalStore(subscribe, () => document.visibilityState === "visible");
  const [wasAway, setWasAway] = useState(false);
  useEffect(() => {
    if (!isVisible) setWasAway(true);
    if (isConnected && (wasAway || !isVisible)) setPresence(isVisible ? "here" : "away");
  }, [isVisible, wasAway, isConnected, setPresence]);
}

function useIsLooking(): boolean {
  return useSyncExternalStore(subscribe, () => document.visibilityState === "visible" && document.hasFocus());
}

function subscribe(listener: () => void): () => void {
  const events = ["focus", "blur", "visibilitychange"];
  for (const event of events) addEventListener(event, listener, true);
  return () => {
    for (const event of events) removeEventListener(event, listener, true);
  };
}
