// What the address says: the channel that is open, and the thread.

import { useMemo, useSyncExternalStore } from "react";

/** Where somebody is. */
export interface Route {
  /** `null` shows the list of channels, where it does not fit beside one. */
  readonly channelId: string | null;
  readonly threadId: string | null;
}

/** The part of the address that is ours, as it is. */
export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  return useMemo(() => {
    const [channelId, threadId] = hash.replace(/^#\/?/, "").split("/").map(decoded);
    return { channelId: channelId || null, threadId: threadId || null };
  }, [hash]);
}

/** Where a channel is, or a thread of it. */
export function channelAddress(channelId: string, threadId?: string): string {
  const parts = threadId === undefined ? [channelId] : [channelId, threadId];
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function subscribe(listener: () => void): () => void {
  addEventListener("hashchange", listener);
  return () => removeEventListener("hashchange", listener);
}
