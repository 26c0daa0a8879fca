// What a channel shows and says, with a socket that the test plays by hand and a clock that it moves.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { type Channel, type ChannelClient, createClient } from "../src/channel.js";
import { jwt } from "./jwt.js";
import { PlayedSocket } from "./played.js";

const BOB = { userId: "bob", username: "Bob" };
const ME = { userId: "alïce", username: "Alïce", avatarUrl: "https://pictures.test/a.png" };

/** An id that sorts after those of smaller numbers. */
const id = (number: number): string => `m${String(number).padStart(4, "0")}`;
const message = (number: number, by = BOB.userId, content = `says ${number}`): object => ({
  id: id(number),
  channelId: "general",
  userId: by,
  username: by,
  content,
  timestamp: number,
});
const range = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);
const state = (first: number, last: number, offset = last, epoch = "e1"): object => ({
  type: "initial_state",
  messages: range(first, last).map((number) => message(number)),
  onlineUsers: [BOB],
  epoch,
  offset,
  session: "s1",
});
const said = (number: number, by?: string, content?: string): object => ({
  type: "message",
  message: message(number, by, content),
  offset: number,
});

let client: ChannelClient;
let channel: Channel;
let leave: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  PlayedSocket.all = [];
  client = createClient({
    url: "http://server.test",
    webSocket: PlayedSocket,
    fetch: () => Promise.reject(new TypeError("away")),
    getToken: () => jwt({ sub: ME.userId, username: ME.username, avatar: ME.avatarUrl, exp: 1e10 }),
  });
  channel = client.channel("general");
  leave = channel.connect();
});
afterEach(() => {
  client.close();
  vi.useRealTimers();
});

async function open(): Promise<PlayedSocket> {
  await vi.advanceTimersByTimeAsync(0);
  const socket = PlayedSocket.all.at(-1) as PlayedSocket;
  socket.onopen?.();
  return socket;
}

/** Breaks the connection, and gives the next one once it is open. */
async function cut(code = 1006): Promise<PlayedSocket> {
  const before = PlayedSocket.all.length;
  PlayedSocket.all.at(-1)?.onclose?.({ code, reason: "" });
  for (let wait = 0; PlayedSocket.all.length === before && wait < 100; wait += 1) await vi.advanceTimersByTimeAsync(400);
  return open();
}

const ids = (): string[] => channel.state.messages.map((each) => each.id);
const contents = (): string[] => channel.state.messages.map((each) => `${each.state} ${each.content}`);
const resumed = (offset: number): object => ({ type: "resumed", epoch: "e1", offset, replayed: 0, session: "s1" });
const sent = (socket: PlayedSocket, type: string): Record<string, unknown>[] =>
  socket.said.filter((frame) => frame["type"] === type);
const names = (socket: PlayedSocket): unknown[] => sent(socket, "message").map((frame) => frame["clientId"]);

describe("what was said", () => {
  test("is listed in order, each once", async () => {
    const socket = await open();
    expect(socket.url.pathname).toBe("/ws/channel/general");
    expect(channel.state).toMatchObject({ isLoaded: false, messages: [], hasOlder: false });
    socket.say(state(1, 3));
    socket.say(said(4));
    socket.say(said(4));
    socket.say(said(5));

    expect(ids()).toEqual(range(1, 5).map(id));
    expect(channel.state).toMatchObject({ isLoaded: true, hasOlder: false, status: "connected" });
  });

  test("resumes where it was", async () => {
    (await open()).say(state(1, 3));

    const second = await cut();
    expect(second.query).toEqual({ since: "3", epoch: "e1", session: "s1" });
    second.say(resumed(5));
    second.say(said(4));
    second.say(said(5));

    expect(ids()).toEqual(range(1, 5).map(id));
    expect(sent(second, "sync")).toEqual([]);
  });

  test("fits together where a new state overlaps with what is known", async () => {
    (await open()).say(state(1, 30));
    const second = await cut();

    second.say(state(20, 69));

    expect(ids()).toEqual(range(1, 69).map(id));
    expect(sent(second, "sync")).toEqual([]);
  });

  test("is asked for where there is a gap, and shown in order once the gap is filled", async () => {
    (await open()).say(state(1, 3));
    const second = await cut();
    second.say(state(1_000, 1_049));
    expect(sent(second, "sync")).toEqual([{ type: "sync", afterMessageId: id(3) }]);
    expect(ids()).toEqual(range(1, 3).map(id));

    // Meanwhile somebody goes on.
    second.say(said(1_050));
    for (const number of range(4, 503)) second.say({ type: "message", message: message(number) });
    second.say({ type: "synced", lastMessageId: id(503), more: true });
    expect(sent(second, "sync").at(-1)).toEqual({ type: "sync", afterMessageId: id(503) });
    for (const number of range(504, 1_003)) second.say({ type: "message", message: message(number) });
    second.say({ type: "synced", lastMessageId: id(1_003), more: false });

    expect(ids()).toEqual(range(1, 1_050).map(id));
  });

  test("is asked for again if the connection is lost before the gap is filled", async () => {
    (await open()).say(state(1, 3));
    (await cut()).say(state(60, 109));
    PlayedSocket.all[1]?.say({ type: "message", message: message(4) });

    const third = await cut();
    third.say(resumed(109));

    expect(third.query["since"]).toBe("109");
    expect(sent(third, "sync")).toEqual([{ type: "sync", afterMessageId: id(4) }]);
    third.say(said(110));
    for (const number of range(5, 65)) third.say({ type: "message", message: message(number) });
    third.say({ type: "synced", lastMessageId: id(65), more: false });
    expect(ids()).toEqual(range(1, 110).map(id));
  });

  test("is forgotten where the server does not know it", async () => {
    (await open()).say(state(1, 3));
    const second = await cut();
    second.say(state(60, 109, 50, "e2"));

    second.say({ type: "error", code: "unknown_message", message: "no such message" });
    second.say(state(60, 109, 50, "e2"));

    expect(ids()).toEqual(range(60, 109).map(id));
    expect(channel.state.hasOlder).toBe(true);
  });

  test("is forgotten if too much was missed", async () => {
    (await open()).say(state(1, 3));
    const second = await cut();
    second.say(state(9_000, 9_049));

    for (let round = 0; round < 8; round += 1) {
      second.say({ type: "message", message: message(4 + round) });
      second.say({ type: "synced", lastMessageId: id(4 + round), more: true });
    }

    expect(sent(second, "sync").length).toBe(8);
    expect(ids()).toEqual(range(9_000, 9_049).map(id));
    expect(channel.state.hasOlder).toBe(true);
  });

  test("older messages come before, a page at a time", async () => {
    const socket = await open();
    socket.say(state(51, 100));
    expect(channel.state.hasOlder).toBe(true);

    const loading = [channel.loadOlder(), channel.loadOlder()];
    const [call] = sent(socket, "call");
    expect(call).toMatchObject({ method: "history", params: { before: id(51), limit: 50 } });
    const page = range(1, 50)
      .reverse()
      .map((number) => message(number));
    socket.say({ type: "result", id: call?.["id"], data: { messages: page } });
    await Promise.all(loading);

    expect(ids()).toEqual(range(1, 100).map(id));
    expect(channel.state.hasOlder).toBe(false);
    await channel.loadOlder();
    expect(sent(socket, "call").length).toBe(1);
  });

  test("the oldest go when there are too many, and can be had again", async () => {
    const socket = await open();
    socket.say(state(1, 10));
    for (const number of range(11, 5_001)) socket.say(said(number));

    expect(channel.state.messages.length).toBe(5_000);
    expect(ids()[0]).toBe(id(2));
    expect(channel.state.hasOlder).toBe(true);
  });

  test("stays while nobody watches, and what was missed is added when somebody does", async () => {
    (await open()).say(state(1, 30));
    leave();
    await vi.advanceTimersByTimeAsync(3_000);
    expect(PlayedSocket.all[0]?.isClosed).toBe(true);
    expect(channel.state.status).toBe("idle");
    expect(client.channel("general")).toBe(channel);

    leave = channel.connect();
    (await open()).say(state(11, 60));

    expect(ids()).toEqual(range(1, 60).map(id));
  });
});

describe("what is sent", () => {
  test("is listed at once, and takes its place when it is stored", async () => {
    const socket = await open();
    socket.say(state(1, 2));
    const stored = channel.send("hello", { threadId: id(1) });
    const [entry] = channel.state.messages.slice(-1);
    expect(entry).toMatchObject({ ...ME, content: "hello", threadId: id(1), state: "sending", error: null });
    const [clientId] = names(socket);
    expect(sent(socket, "message")).toEqual([{ type: "message", content: "hello", threadId: id(1), clientId }]);

    socket.say({ type: "ack", clientId, messageId: id(3), timestamp: 7 });
    expect(await stored).toEqual({ messageId: id(3), timestamp: 7 });
    expect(channel.state.messages.at(-1)).toMatchObject({ id: id(3), state: "sent", timestamp: 7, key: entry?.key });
    socket.say({ type: "message", message: { ...message(3, ME.userId, "hello"), threadId: id(1) }, offset: 3 });
    socket.say(said(4));

    expect(ids()).toEqual(range(1, 4).map(id));
    expect(channel.state.messages.at(-2)?.key).toBe(entry?.key);
  });

  test("is not shown twice if the message comes before its answer", async () => {
    const socket = await open();
    socket.say(state(1, 2));
    void channel.send("hello");
    socket.say(said(3, ME.userId, "hello"));
    expect(ids()).toEqual(range(1, 3).map(id));

    socket.say({ type: "ack", clientId: names(socket)[0], messageId: id(3), timestamp: 7 });

    expect(contents()).toEqual(["sent says 1", "sent says 2", "sent hello"]);
  });

  test("the same words from another tab of the same user are another message", async () => {
    const socket = await open();
    socket.say(state(1, 2));
    void channel.send("hello");
    socket.say(said(3, ME.userId, "hello"));
    socket.say({ type: "ack", clientId: names(socket)[0], messageId: id(4), timestamp: 7 });
    socket.say(said(4, ME.userId, "hello"));

    expect(ids()).toEqual(range(1, 4).map(id));
    expect(new Set(channel.state.messages.map(({ key }) => key)).size).toBe(4);
  });

  test("waits for the connection, and is sent in order", async () => {
    const stored = ["a", "b", "c"].map((content) => channel.send(content));
    expect(contents()).toEqual(["sending a", "sending b", "sending c"]);
    const socket = await open();
    expect(sent(socket, "message").map((frame) => frame["content"])).toEqual(["a", "b", "c"]);

    for (const [index, clientId] of names(socket).entries()) {
      socket.say({ type: "ack", clientId, messageId: id(index + 1), timestamp: 0 });
    }

    expect((await Promise.all(stored)).map(({ messageId }) => messageId)).toEqual([id(1), id(2), id(3)]);
  });

  test("is sent again under the same name after a cut, and listed once", async () => {
    const first = await open();
    first.say(state(1, 2));
    void channel.send("hello");
    const second = await cut();
    expect(names(second)).toEqual(names(first));

    // The first try had arrived.
    second.say(resumed(3));
    second.say(said(3, ME.userId, "hello"));
    expect(ids()).toEqual(range(1, 3).map(id));
    second.say({ type: "ack", clientId: names(second)[0], messageId: id(3), timestamp: 3 });

    expect(ids()).toEqual(range(1, 3).map(id));
    expect(names(await cut())).toEqual([]);
  });

  test("goes a few at a time, so that a long queue is no flood", async () => {
    for (const number of range(1, 40)) void channel.send(`${number}`);
    const socket = await open();
    expect(names(socket).length).toBe(16);

    socket.say({ type: "ack", clientId: names(socket)[0], messageId: id(1), timestamp: 0 });

    expect(sent(socket, "message").map((frame) => frame["content"])).toEqual(range(1, 17).map(String));
  });

  test("is refused with what the server says, and can be sent again or given up", async () => {
    const socket = await open();
    socket.say(state(1, 1));
    const refused = channel.send("hello").catch((err: unknown) => err);
    socket.say({ type: "error", message: "No write permission" });
    expect(await refused).toMatchObject({ message: "No write permission" });
    expect(channel.state.messages.at(-1)).toMatchObject({
      state: "failed",
      error: { message: "No write permission" },
    });

    const [clientId] = names(socket) as [string];
    channel.retry(clientId);
    expect(names(socket)).toEqual([clientId, clientId]);
    channel.discard(clientId);
    expect(contents()).toEqual(["sent says 1", "sending hello"]);
    socket.say({ type: "error", message: "No write permission" });
    channel.discard(clientId);

    expect(contents()).toEqual(["sent says 1"]);
  });

  test("an error that names its message is that one's", async () => {
    const socket = await open();
    void channel.send("first");
    void channel.send("second");

    socket.say({ type: "error", message: "too long", clientId: names(socket)[1] });

    expect(contents()).toEqual(["sending first", "failed second"]);
  });

  test("the last one is not sent again by itself if the server failed on it", async () => {
    const first = await open();
    first.say(state(1, 1));
    void channel.send("harmless");
    const refused = channel.send("poison").catch((err: unknown) => err);
    const second = await cut(1011);

    expect(await refused).toMatchObject({ code: "CONNECTION_LOST", isOutcomeUnknown: true });
    expect(names(second)).toEqual(names(first).slice(0, 1));
    // It had been stored all the same.
    second.say(resumed(2));
    second.say(said(2, ME.userId, "poison"));
    expect(contents()).toEqual(["sent says 1", "sent poison", "sending harmless"]);
  });

  test("fails if the connection is closed for good", async () => {
    const socket = await open();
    const refused = channel.send("hello").catch((err: unknown) => err);
    socket.onclose?.({ code: 1008, reason: "not allowed any more" });
    expect(await refused).toMatchObject({ code: "CLOSED", isOutcomeUnknown: true });

    await expect(channel.send("again")).rejects.toMatchObject({ code: "CLOSED", isOutcomeUnknown: false });
  });

  test("keeps the channel open until it is stored", async () => {
    const socket = await open();
    void channel.send("hello");
    leave();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(socket.isClosed).toBe(false);

    socket.say({ type: "ack", clientId: names(socket)[0], messageId: id(1), timestamp: 0 });
    await vi.advanceTimersByTimeAsync(2_000);

    expect(socket.isClosed).toBe(true);
  });

  test("opens a channel that nobody watches", async () => {
    const stored = client.channel("elsewhere").send("hello");
    const socket = await open();
    expect(socket.url.pathname).toBe("/ws/channel/elsewhere");
    socket.say({ type: "ack", clientId: names(socket)[0], messageId: id(1), timestamp: 0 });

    expect(await stored).toMatchObject({ messageId: id(1) });
  });

  test("is refused when too much waits", async () => {
    for (const number of range(1, 1_000)) void channel.send(`${number}`);

    await expect(channel.send("one more")).rejects.toMatchObject({ code: "QUEUE_FULL" });
  });

  test("is refused when the client is closed", async () => {
    await open();
    const refused = channel.send("hello").catch((err: unknown) => err);
    client.close();

    expect(await refused).toMatchObject({ code: "CLOSED" });
    await vi.advanceTimersByTimeAsync(16);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("people", () => {
  const online = (): string[] => channel.state.onlineUsers.map(({ userId, status }) => `${userId} ${status ?? ""}`.trim());
  const typing = (): string[] => channel.state.typingUsers.map(({ userId }) => userId);

  test("who is here follows what the server says", async () => {
    const socket = await open();
    socket.say(state(1, 1));
    socket.say({ type: "user_connected", userId: "carol", username: "Carol", joinedAt: 7 });
    socket.say({ type: "presence", ...BOB, status: "away" });
    expect(online()).toEqual(["bob away", "carol"]);
    socket.say({ type: "user_disconnected", ...BOB });
    expect(online()).toEqual(["carol"]);

    const second = await cut();
    second.say(resumed(1));
    second.say({ type: "online", onlineUsers: [BOB, ME] });

    expect(online()).toEqual(["bob", "alïce"]);
    expect(channel.state.onlineTotal).toBe(2);
    expect(channel.state.me).toEqual(ME);
  });

  test("a large crowd is counted", async () => {
    const socket = await open();
    socket.say({ ...state(1, 1), totalOnline: 4_000 });

    expect(channel.state).toMatchObject({ onlineTotal: 4_000, onlineUsers: [BOB] });
  });

  test("who writes is seen until they stop, say what they wrote, leave, or are silent", async () => {
    const socket = await open();
    socket.say(state(1, 1));
    const writes = (isTyping = true, user = BOB): void => socket.say({ type: "typing", ...user, isTyping });
    writes(true, ME);
    expect(typing()).toEqual([]);
    writes();
    expect(typing()).toEqual(["bob"]);
    writes(false);
    expect(typing()).toEqual([]);
    writes();
    socket.say(said(2));
    expect(typing()).toEqual([]);
    writes();
    socket.say({ type: "user_disconnected", ...BOB });
    expect(typing()).toEqual([]);

    writes();
    await vi.advanceTimersByTimeAsync(6_000);
    expect(typing()).toEqual(["bob"]);
    await vi.advanceTimersByTimeAsync(500);
    expect(typing()).toEqual([]);
    writes();
    await cut();
    expect(typing()).toEqual([]);
  });

  test("writing is told every three seconds, and stopping at once", async () => {
    const socket = await open();
    socket.say(state(1, 1));
    const told = (): unknown[] => sent(socket, "typing").map((frame) => frame["isTyping"]);
    channel.typing(false);
    expect(told()).toEqual([]);
    for (let key = 0; key < 40; key += 1) {
      channel.typing(true);
      await vi.advanceTimersByTimeAsync(100);
    }
    expect(told()).toEqual([true, true]);

    channel.typing(false);
    channel.typing(false);
    channel.typing(true);
    void channel.send("done");
    channel.typing(true);

    expect(told()).toEqual([true, true, false, true, true]);
  });

  test("what this user said of themselves is said again over every connection, once", async () => {
    const socket = await open();
    socket.say(state(1, 1));
    channel.setPresence("away");
    expect(sent(socket, "presence")).toEqual([{ type: "presence", status: "away" }]);

    const second = await cut();
    second.say(resumed(1));
    second.say({ type: "online", onlineUsers: [ME] });
    second.say({ type: "online", onlineUsers: [ME, BOB] });

    expect(sent(second, "presence")).toEqual([{ type: "presence", status: "away" }]);
  });

  test("what others said of themselves outlives a list of who is here, and not their leaving", async () => {
    const socket = await open();
    socket.say(state(1, 1));
    socket.say({ type: "presence", ...BOB, status: "away" });
    socket.say({ type: "online", onlineUsers: [BOB] });
    expect(online()).toEqual(["bob away"]);
    socket.say({ type: "user_disconnected", ...BOB });
    socket.say({ type: "user_connected", ...BOB, joinedAt: 7 });

    expect(online()).toEqual(["bob"]);
  });

  test("how far this user had read comes with the state, and how far the others with the members", async () => {
    const socket = await open();
    socket.say({ ...state(1, 5), lastReadMessageId: id(3) });
    expect(channel.state).toMatchObject({ unread: 2, lastReadId: id(3) });
    socket.say({ type: "read", userId: "bob", messageId: id(4), offset: 6 });

    const members = channel.members();
    const [call] = sent(socket, "call");
    expect(call).toMatchObject({ method: "members" });
    const known = [
      { userId: "bob", username: "Bob", isOnline: true, lastReadMessageId: id(2) },
      { userId: "carol", username: "Carol", isOnline: false, lastReadMessageId: id(1) },
      { userId: "dave", username: "Dave", isOnline: false },
    ];
    socket.say({ type: "result", id: call?.["id"], data: { members: known } });

    expect(await members).toEqual({ members: known });
    expect(Object.fromEntries(channel.state.receipts)).toEqual({ [ME.userId]: id(3), bob: id(4), carol: id(1) });
  });

  test("a message that was read and is not there any more is not told again", async () => {
    const socket = await open();
    socket.say(state(1, 3));
    channel.markRead(id(3));
    socket.say({ type: "error", code: "unknown_message", message: "there is no message of that id, or not any more" });

    const second = await cut();
    second.say(resumed(3));

    expect(sent(second, "read")).toEqual([]);
    expect(ids()).toEqual(range(1, 3).map(id));
  });

  test("what others wrote after what was read is unread", async () => {
    const socket = await open();
    socket.say(state(1, 3));
    expect(channel.state).toMatchObject({ unread: 3, lastReadId: null });
    channel.markRead(id(2));
    channel.markRead(id(1));
    expect(sent(socket, "read")).toEqual([{ type: "read", messageId: id(2) }]);
    expect(channel.state).toMatchObject({ unread: 1, lastReadId: id(2) });
    socket.say(said(4, ME.userId));
    socket.say(said(5));
    expect(channel.state.unread).toBe(2);

    // Read in another tab.
    socket.say({ type: "read", userId: ME.userId, messageId: id(5), offset: 6 });
    socket.say({ type: "read", userId: "bob", messageId: id(4), offset: 7 });

    expect(channel.state).toMatchObject({ unread: 0, lastReadId: id(5) });
    expect(Object.fromEntries(channel.state.receipts)).toEqual({ [ME.userId]: id(5), bob: id(4) });
  });

  test("what was read while the connection is away is told when it is back", async () => {
    (await open()).say(state(1, 3));
    PlayedSocket.all[0]?.onclose?.({ code: 1006, reason: "" });
    channel.markRead(id(3));
    await vi.advanceTimersByTimeAsync(250);
    const second = await open();
    expect(sent(second, "read")).toEqual([{ type: "read", messageId: id(3) }]);

    second.say({ type: "read", userId: ME.userId, messageId: id(3), offset: 4 });

    expect(sent(await cut(), "read")).toEqual([]);
  });

  test("what was read further elsewhere is not told again", async () => {
    const socket = await open();
    socket.say(state(1, 3));
    channel.markRead(id(2));
    socket.say({ type: "read", userId: ME.userId, messageId: id(3), offset: 4 });

    expect(sent(await cut(), "read")).toEqual([]);
    expect(channel.state.lastReadId).toBe(id(3));
  });
});

describe("sharing", () => {
  test("who comes back at once finds everything as it was", async () => {
    const socket = await open();
    socket.say(state(1, 3));
    leave();
    leave();
    await vi.advanceTimersByTimeAsync(900);
    leave = channel.connect();
    await vi.advanceTimersByTimeAsync(5_000);

    expect(PlayedSocket.all.length).toBe(1);
    expect(socket.isClosed).toBe(false);
  });

  test("who joins a connection that others have open has the server say again who is here", async () => {
    (await open()).say(state(1, 3));
    leave();
    // The object's connection lives a moment longer than the channel's watch.
    await vi.advanceTimersByTimeAsync(1_500);
    leave = channel.connect();
    const second = await open();

    expect(second.query).toMatchObject({ since: "3", epoch: "e1" });
    second.say(resumed(3));
    second.say({ type: "online", onlineUsers: [] });
    expect(channel.state).toMatchObject({ onlineUsers: [], isLoaded: true });
    expect(ids()).toEqual(range(1, 3).map(id));
  });

  test("a listener hears of changes, of a burst not of each, until it stops listening", async () => {
    let changes = 0;
    const stop = channel.onState(() => (changes += 1));
    const socket = await open();
    socket.say(state(1, 1));
    const before = channel.state;
    expect(channel.state).toBe(before);
    await vi.advanceTimersByTimeAsync(16);
    expect(changes).toBeGreaterThan(0);

    changes = 0;
    for (const number of range(2, 500)) {
      socket.say(said(number));
      await vi.advanceTimersByTimeAsync(number % 100 === 0 ? 20 : 0);
    }
    await vi.advanceTimersByTimeAsync(16);
    expect(changes).toBeGreaterThanOrEqual(5);
    expect(changes).toBeLessThanOrEqual(10);
    stop();
    changes = 0;
    socket.say(said(501));
    await vi.advanceTimersByTimeAsync(16);

    expect(channel.state).not.toBe(before);
    expect(channel.state.messages[0]).toBe(before.messages[0]);
    expect(changes).toBe(0);
  });

  test("of channels that nobody needs, some are kept", async () => {
    const unused = range(0, 40).map((number) => client.channel(`channel ${number}`));

    expect(client.channel("general")).toBe(channel);
    expect(client.channel("channel 20")).toBe(unused[20]);
    expect(client.channel("channel 0")).not.toBe(unused[0]);
  });
});
