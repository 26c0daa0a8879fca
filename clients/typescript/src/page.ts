// What a browser says about its network and its page. Elsewhere there is nothing to say.

/** What connections are told: try now, find out whether you live, or let go because the page is being frozen. */
export type PageSignal = "wake" | "probe" | "suspend";

const SIGNALS: Readonly<Record<string, PageSignal>> = {
  online: "wake",
  offline: "probe",
  pageshow: "wake",
  resume: "wake",
  visibilitychange: "wake",
  // A page in the back-forward cache keeps no socket: an open one would keep it out of the cache.
  pagehide: "suspend",
  freeze: "suspend",
};

/** Tells of changes until the function that it gives is called. */
export function watchPage(tell: (signal: PageSignal) => void): () => void {
  if (typeof document === "undefined") return () => {};
  const listeners = new AbortController();
  for (const [event, signal] of Object.entries(SIGNALS)) {
    const listener = (): void => {
      if (event !== "visibilitychange" || document.visibilityState === "visible") tell(signal);
    };
    // Captured: events of the document pass the window on their way.
    addEventListener(event, listener, { capture: true, signal: listeners.signal });
  }
  return () => listeners.abort();
}
