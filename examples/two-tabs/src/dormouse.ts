// The server: one client, one cache, and the options that connect them.

import { createClient } from "@dormouse/client/channel";
import { createQueries } from "@dormouse/client/tanstack";
import { QueryClient } from "@tanstack/react-query";
import { useEffect } from "react";

/** While an object is followed its events keep the cache fresh; otherwise an answer is good for so long, in milliseconds. */
const STALE_MS = 5_000;

export const client = createClient({
  url: import.meta.env.VITE_SERVER_URL ?? `http://${location.hostname}:8094`,
});

export const queryClient = new QueryClient({ defaultOptions: { queries: { staleTime: STALE_MS } } });

export const queries = createQueries(client, queryClient);

/** Lets the cache follow an object as long as the component is there and `isOn`. */
export function useFollow(kind: "counter" | "note", id: string, isOn = true): void {
  useEffect(() => (isOn ? queries.follow(kind, id) : undefined), [kind, id, isOn]);
}
