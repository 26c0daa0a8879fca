// What a page tells its connections, and that it stops telling.

import { afterEach, expect, test, vi } from "vitest";

import { createClient } from "../src/index.js";
import { type PageSignal, watchPage } from "../src/page.js";
import { PlayedSocket } from "./played.js";

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test("network and page are heard, and nothing after the end", () => {
  const heard: PageSignal[] = [];
  const stop = watchPage((signal) => heard.push(signal));
  const says = (target: EventTarget, event: string): PageSignal[] => {
    target.dispatchEvent(new Event(event, { bubbles: true }));
    return heard.splice(0);
  };

  expect(says(window, "online")).toEqual(["wake"]);
  expect(says(window, "offline")).toEqual(["probe"]);
  expect(says(window, "pageshow")).toEqual(["wake"]);
  expect(says(window, "pagehide")).toEqual(["suspend"]);
  expect(says(document, "freeze")).toEqual(["suspend"]);
  expect(says(document, "resume")).toEqual(["wake"]);
  vi.spyOn(document, "visibilityState", "get").mockReturnValue("hidden");
  expect(says(document, "visibilitychange")).toEqual([]);
  vi.spyOn(document, "visibilityState", "get").mockReturnValue("visible");
  expect(says(document, "visibilitychange")).toEqual(["wake"]);
  stop();
  expect(says(window, "online")).toEqual([]);
});

test("a page that is put away lets go of its socket, and resumes when it is shown again", async () => {
  vi.useFakeTimers();
  PlayedSocket.all = [];
  const client = createClient({ url: "http://server.test", webSocket: PlayedSocket });
  const counter = client.object("counter", "a");
  counter.connect();
  await vi.advanceTimersByTimeAsync(0);
  PlayedSocket.all[0]?.onopen?.();
  PlayedSocket.all[0]?.say({ type: "initial", value: 4, epoch: "e1", offset: 4 });

  window.dispatchEvent(new Event("pagehide"));
  expect(PlayedSocket.all[0]?.isClosed).toBe(true);
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(PlayedSocket.all.length).toBe(1);
  window.dispatchEvent(new Event("pageshow"));
  await vi.advanceTimersByTimeAsync(0);

  expect(PlayedSocket.all[1]?.query).toEqual({ since: "4", epoch: "e1" });
  client.close();
});

test("a network that comes back ends the wait for the next try", async () => {
  vi.useFakeTimers();
  PlayedSocket.all = [];
  const client = createClient({ url: "http://server.test", webSocket: PlayedSocket });
  const counter = client.object("counter", "a", { reconnectIntervalMs: 60_000 });
  counter.connect();
  await vi.advanceTimersByTimeAsync(0);
  PlayedSocket.all[0]?.onopen?.();
  PlayedSocket.all[0]?.onclose?.({ code: 1006, reason: "" });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(PlayedSocket.all.length).toBe(1);

  window.dispatchEvent(new Event("online"));
  await vi.advanceTimersByTimeAsync(0);

  expect(PlayedSocket.all.length).toBe(2);
  client.close();
});
