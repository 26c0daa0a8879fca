// What the address says. Counters on the board are in it too, so that a second tab shows the same ones.

import { useMemo, useSyncExternalStore } from "react";

/** Where somebody is. */
export type Route = { readonly page: "counters" } | { readonly page: "notes"; readonly noteId: string | null };

/** What is on a board that nobody has arranged. */
const COUNTERS = ["hazelnuts", "visitors", "cups of coffee"];

/** The counters are in `?counters=`, as a list that any name can be part of. */
const COUNTERS_PARAMETER = "counters";

/** Said to this page's own listeners: the browser says nothing when the address is changed by a script. */
const CHANGED = "addresschange";

export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  return useMemo(() => {
    const [page, noteId] = hash.replace(/^#\/?/, "").split("/");
    if (page !== "notes") return { page: "counters" };
    return { page, noteId: noteId ? decodeURIComponent(noteId) : null };
  }, [hash]);
}

export function noteAddress(id: string): string {
  return `#/notes/${encodeURIComponent(id)}`;
}

/** The counters on the board, and a function that changes them. */
export function useBoard(): [names: readonly string[], change: (names: readonly string[]) => void] {
  const search = useSyncExternalStore(subscribe, () => location.search);
  const names = useMemo(() => {
    const given = new URLSearchParams(search).get(COUNTERS_PARAMETER);
    return given === null ? COUNTERS : given.split(",").filter(Boolean).map(decodeURIComponent);
  }, [search]);
  return [names, changeBoard];
}

function changeBoard(names: readonly string[]): void {
  const url = new URL(location.href);
  url.searchParams.set(COUNTERS_PARAMETER, [...new Set(names)].map(encodeURIComponent).join(","));
  history.replaceState(null, "", url);
  dispatchEvent(new Event(CHANGED));
}

function subscribe(listener: () => void): () => void {
  const events = ["hashchange", "popstate", CHANGED];
  for (const event of events) addEventListener(event, listener);
  return () => {
    for (const event of events) removeEventListener(event, listener);
  };
}
