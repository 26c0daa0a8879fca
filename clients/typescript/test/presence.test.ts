// Who is with an object, with a socket that the test plays by hand.

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { type ChannelClient, createClient, type Presence } from "../src/channel.js";
import { PlayedSocket } from "./played.js";

const NOW = "2025-01-15T12:00:00.000Z";
const user = (userId: string): object => ({ userId, username: userId.toUpperCase(), joinedAt: NOW });
const initial = { type: "initial", value: 1, epoch: "e1", offset: 1 };

let client: ChannelClient;
let presence: Presence;
let leave: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  PlayedSocket.all = [];
  client = createClient({ url: "http://server.test", webSocket: PlayedSocket });
  presence = client.presence("note", "a/b");
  leave = presence.connect();
});
afterEach(async () => {
  client.close();
  await vi.advanceTimersByTimeAsync(16);
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

async function open(): Promise<PlayedSocket> {
  await vi.advanceTimersByTimeAsync(0);
  const socket = PlayedSocket.all.at(-1) as PlayedSocket;
  socket.onopen?.();
  return socket;
}

const users = (): string[] => presence.state.users.map(({ userId }) => userId);

test("who is here is told once, and then who comes and goes", async () => {
  const socket = await open();
  expect(socket.url.pathname).toBe("/ws/note/a%2Fb");
  expect(socket.query).toEqual({ presence: "1" });
  socket.say(initial);
  socket.say({ type: "presence_state", users: [user("alice")] });
  expect(presence.state).toMatchObject({ status: "connected", total: 1, users: [user("alice")] });
  socket.say({ type: "presence_diff", joins: [user("bob"), user("carol")], leaves: [user("alice")] });

  expect(users()).toEqual(["bob", "carol"]);
  expect(client.presence("note", "a/b")).toBe(presence);
});

test("of a crowd the number is known", async () => {
  const socket = await open();
  socket.say({ type: "presence_state", users: [user("alice")], total: 5_000 });
  expect(presence.state.total).toBe(5_000);
  socket.say({ type: "presence_diff", joins: [], leaves: [user("alice")], total: 4_999 });

  expect(presence.state).toMatchObject({ total: 4_999, users: [] });
});

test("after a reconnect the list is another", async () => {
  const socket = await open();
  socket.say(initial);
  socket.say({ type: "presence_state", users: [user("alice")] });
  socket.onclose?.({ code: 1006, reason: "" });
  expect(users()).toEqual(["alice"]);
  await vi.advanceTimersByTimeAsync(250);

  const second = await open();
  expect(second.query).toEqual({ presence: "1", since: "1", epoch: "e1" });
  second.say({ type: "presence_state", users: [user("bob")] });

  expect(users()).toEqual(["bob"]);
});

test("an object that is watched already is asked again, over the one connection", async () => {
  leave();
  client.close();
  PlayedSocket.all = [];
  const events: string[] = [];
  client.object("note", "a/b").on("*", ({ type }) => events.push(type));
  (await open()).say(initial);

  leave = presence.connect();
  const second = await open();

  expect(PlayedSocket.all[0]?.isClosed).toBe(true);
  expect(second.query).toEqual({ presence: "1", since: "1", epoch: "e1" });
  second.say({ type: "presence_state", users: [user("alice")] });
  expect(users()).toEqual(["alice"]);
  expect(events).toEqual(["initial"]);
  leave();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(presence.state).toMatchObject({ status: "idle", users: [], total: 0 });
  expect(second.isClosed).toBe(false);
});
