// What a connection says and hears, with a socket that the test plays by hand and a clock that it moves.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { type Client, createClient, DormouseError } from "../src/index.js";
import { jwt } from "./jwt.js";
import { PlayedSocket } from "./played.js";

const EPOCH = "e1";
const initial = (offset: number): object => ({ type: "initial", value: offset, epoch: EPOCH, offset, session: "s1" });
const increment = (offset: number): object => ({ type: "increment", value: offset, offset });

let client: Client;
let offsets: (number | undefined)[];
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  PlayedSocket.all = [];
  offsets = [];
  client = createClient({
    url: "http://server.test/below/",
    webSocket: PlayedSocket,
    fetch: () => Promise.reject(new TypeError("away")),
  });
  stop = client.object("counter", "a/b").on("*", ({ offset }) => offsets.push(offset));
});
afterEach(() => {
  client.close();
  vi.useRealTimers();
});

const counter = () => client.object("counter", "a/b");

/** The next socket, open. */
async function opened(): Promise<PlayedSocket> {
  const before = PlayedSocket.all.length;
  for (let wait = 0; PlayedSocket.all.length === before && wait < 100; wait += 1)
    await vi.advanceTimersByTimeAsync(wait === 0 ? 0 : 400);
  return open();
}

async function open(): Promise<PlayedSocket> {
  await vi.advanceTimersByTimeAsync(0);
  const socket = PlayedSocket.all.at(-1) as PlayedSocket;
  socket.onopen?.();
  return socket;
}

test("it dials the object's address, and resumes where it was, as who it was", async () => {
  const first = await open();
  expect(first.url.href).toBe("ws://server.test/below/ws/counter/a%2Fb");

  first.say(initial(7));
  first.say(increment(8));
  first.onclose?.({ code: 1013, reason: "" });

  expect((await opened()).query).toEqual({ since: "8", epoch: EPOCH, session: "s1" });
});

test("an event that comes twice is handed on once, and one that is missing is fetched", async () => {
  const first = await open();
  first.say(initial(5));
  first.say(increment(6));
  first.say(increment(6));
  first.say(increment(8));
  first.say(increment(9));
  expect(first.isClosed).toBe(true);
  expect(counter().state).toMatchObject({ status: "reconnecting", error: { message: "an event was missing" } });

  const second = await opened();
  expect(second.query["since"]).toBe("6");
  second.say({ type: "resumed", epoch: EPOCH, offset: 8, replayed: 2 });
  second.say(increment(7));
  second.say(increment(8));

  expect(offsets).toEqual([5, 6, 7, 8]);
});

test("a pong that is ahead of the events means that some are missing", async () => {
  const socket = await open();
  socket.say(initial(5));
  socket.say({ type: "pong", timestamp: "", offset: 5 });
  expect(socket.isClosed).toBe(false);

  socket.say({ type: "pong", timestamp: "", offset: 6 });

  expect(socket.isClosed).toBe(true);
});

test("a whole state replaces all, also in the middle and with a lower offset", async () => {
  const socket = await open();
  socket.say(initial(5));
  socket.say({ ...initial(2), epoch: "e2" });
  socket.say(increment(3));
  socket.onclose?.({ code: 1013, reason: "" });

  expect(offsets).toEqual([5, 2, 3]);
  expect((await opened()).query).toMatchObject({ since: "3", epoch: "e2" });
});

test("the first event of an object that did not exist begins its log", async () => {
  const socket = await open();
  socket.say({ type: "create", epoch: "e9", offset: 4 });
  socket.say(increment(5));
  socket.onclose?.({ code: 1013, reason: "" });

  expect(offsets).toEqual([4, 5]);
  expect((await opened()).query).toEqual({ since: "5", epoch: "e9" });
});

test("frames that are not understood are passed over", async () => {
  const socket = await open();
  for (const data of ["", "null", "7", "[]", "{", "{}", '{"type":7}', new ArrayBuffer(2)]) socket.onmessage?.({ data });
  socket.say(initial(1));

  expect(offsets).toEqual([1]);
});

test("an idle connection is pinged every 30 s, and left when it does not answer", async () => {
  const socket = await open();
  socket.say(initial(0));
  for (let ping = 1; ping <= 3; ping += 1) {
    await vi.advanceTimersByTimeAsync(30_000);
    expect(socket.said).toEqual(Array.from({ length: ping }, () => ({ type: "ping" })));
    socket.say({ type: "pong", timestamp: "", offset: 0 });
  }
  await vi.advanceTimersByTimeAsync(39_999);
  expect(counter().state.status).toBe("connected");
  await vi.advanceTimersByTimeAsync(1);

  expect(counter().state).toMatchObject({ status: "reconnecting", error: { message: "the server fell silent" } });
});

test("a call that was cut off is repeated with its key; after 1011 the last one is not", async () => {
  const first = await open();
  const one = counter().call("increment");
  const two = counter()
    .call("increment", { amount: 2 })
    .catch((err: unknown) => err);
  first.onclose?.({ code: 1011, reason: "" });

  const second = await opened();
  expect(second.said).toEqual([first.said[0]]);
  expect(first.said[0]).toMatchObject({
    type: "call",
    method: "increment",
    params: {},
    key: expect.stringMatching(/^\d+(-\d+){3}$/),
  });
  expect(await two).toMatchObject({ code: "CONNECTION_LOST", isOutcomeUnknown: true });
  second.onclose?.({ code: 1006, reason: "" });
  const third = await opened();
  expect(third.said).toEqual([first.said[0]]);
  third.say({ type: "result", id: third.said[0]?.["id"], data: { value: 1 } });

  expect(await one).toEqual({ value: 1 });
});

test("nothing is said to a socket that closes: the call waits for the next one", async () => {
  const first = await open();
  first.readyState = 2;
  const call = counter().call("increment");
  expect(first.said).toEqual([]);
  first.onclose?.({ code: 1006, reason: "" });

  const second = await opened();
  second.say({ type: "result", id: second.said[0]?.["id"], data: { value: 1 } });

  expect(await call).toEqual({ value: 1 });
});

test("a close that is final ends the calls, and stays until somebody asks", async () => {
  const socket = await open();
  const call = counter()
    .call("increment")
    .catch((err: unknown) => err);
  socket.onclose?.({ code: 1008, reason: "not allowed any more" });

  expect(await call).toMatchObject({ code: "CLOSED", message: "not allowed any more", isOutcomeUnknown: true });
  await vi.advanceTimersByTimeAsync(1e6);
  expect(PlayedSocket.all.length).toBe(1);
  expect(counter().state).toMatchObject({ status: "closed", error: { data: { closeCode: 1008 } } });

  counter().reconnect();
  await open();
  expect(counter().state.status).toBe("connected");
});

test("a fixed delay replaces the back-off, and the shortest of those who share the connection holds", async () => {
  await open();
  const delays = [5_000, 3_000].map((reconnectIntervalMs) =>
    client.object("counter", "a/b", { reconnectIntervalMs }).connect(),
  );
  for (let failure = 0; failure < 4; failure += 1) {
    PlayedSocket.all.at(-1)?.onclose?.({ code: 1006, reason: "" });
    await vi.advanceTimersByTimeAsync(2_999);
    expect(PlayedSocket.all.length).toBe(failure + 1);
    await vi.advanceTimersByTimeAsync(1);
    await open();
    expect(PlayedSocket.all.length).toBe(failure + 2);
  }
  for (const end of delays) end();
});

test("who leaves and comes back at once finds the connection open", async () => {
  const socket = await open();
  socket.say(initial(3));
  stop();
  await vi.advanceTimersByTimeAsync(999);
  const again: (number | undefined)[] = [];
  const stopAgain = counter().on("initial", ({ offset }) => again.push(offset));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(again).toEqual([3]);
  expect(PlayedSocket.all.length).toBe(1);

  stopAgain();
  await vi.advanceTimersByTimeAsync(1_000);

  expect(socket.isClosed).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
});

test("a listener that throws keeps nobody waiting", async () => {
  const thrown: unknown[] = [];
  const report = (err: unknown): void => void thrown.push(err);
  process.on("uncaughtException", report);
  const others = process.listeners("uncaughtException").filter((listener) => listener !== report);
  for (const other of others) process.off("uncaughtException", other);
  client.object("counter", "c").on("*", () => {
    throw new Error("mine");
  });
  const seen: unknown[] = [];
  client.object("counter", "c").on("*", ({ offset }) => seen.push(offset));

  const socket = await open();
  socket.say(initial(1));
  await vi.advanceTimersByTimeAsync(1);

  process.off("uncaughtException", report);
  for (const other of others) process.on("uncaughtException", other);
  expect(seen).toEqual([1]);
  expect(thrown).toMatchObject([{ message: "mine" }]);
});

test("what the kind has of its own is said while there is a socket, and not kept", async () => {
  const socket = await open();
  counter().send({ type: "wave", hand: "left" });
  socket.onclose?.({ code: 1006, reason: "" });
  counter().send({ type: "wave" });

  expect(socket.said).toEqual([{ type: "wave", hand: "left" }]);
  expect((await opened()).said).toEqual([]);
});

test("what the server says with an error is kept", async () => {
  const socket = await open();
  socket.say({ type: "error", code: "FORBIDDEN", message: "no", clientId: "c1" });

  expect(counter().state.error).toMatchObject({ code: "FORBIDDEN", message: "no", data: { clientId: "c1" } });
});

test("a refresh dials anew and resumes", async () => {
  const first = await open();
  first.say(initial(5));
  counter().refresh();
  const second = await open();

  expect(first.isClosed).toBe(true);
  expect(second.query).toMatchObject({ since: "5", epoch: EPOCH });
});

test("who is here is asked for by those who watch for it, and told to nobody else", async () => {
  (await open()).say(initial(5));
  expect(PlayedSocket.all[0]?.query["presence"]).toBe(undefined);
  const frames: string[] = [];
  const all: string[] = [];
  client.object("counter", "a/b").on("*", ({ type }) => all.push(type));
  // The types of a kind's events do not have it: `client.presence` is the way in.
  client.object("counter", "a/b").on("presence_state" as "initial", ({ type }) => frames.push(type));
  counter().refresh();

  const second = await open();
  expect(second.query["presence"]).toBe("1");
  second.say({ type: "presence_state", users: [] });

  expect(frames).toEqual(["presence_state"]);
  expect(all).toEqual(["initial"]);
});

describe("tokens", () => {
  const inSeconds = (seconds: number): string => jwt({ sub: "ü?>", exp: Date.now() / 1_000 + seconds });
  let asked: number;
  let lifetimes: number[];

  /** A counter whose tokens live so many seconds, one after the other; the last again and again. */
  function tokened(...seconds: number[]) {
    asked = 0;
    lifetimes = seconds;
    stop();
    client.close();
    PlayedSocket.all = [];
    client = createClient({
      url: "http://server.test",
      webSocket: PlayedSocket,
      fetch: () => Promise.resolve(Response.json({ error: { code: "UNAUTHORIZED", message: "no" } }, { status: 401 })),
      getToken: () => inSeconds(lifetimes[Math.min((asked += 1), lifetimes.length) - 1] as number),
    });
    stop = counter().connect();
  }
  const auths = (socket: PlayedSocket): unknown[] => socket.said.filter(({ type }) => type === "auth");

  test("a token is replaced before it expires, over the socket, until the server has taken another", async () => {
    tokened(120, 3_600);
    const socket = await open();
    const ponged = async (): Promise<void> => {
      await vi.advanceTimersByTimeAsync(30_000);
      socket.say({ type: "pong", timestamp: "" });
    };
    await ponged();
    expect(auths(socket)).toEqual([]);

    await ponged();
    expect(auths(socket)).toEqual([{ type: "auth", token: expect.stringContaining(".") }]);
    // Nothing was answered: it is shown again.
    await ponged();
    expect(auths(socket).length).toBe(2);
    socket.say({ type: "authorized", expiresAt: new Date(Date.now() + 3_600_000).toISOString() });
    for (let ping = 0; ping < 20; ping += 1) await ponged();

    expect(auths(socket).length).toBe(2);
    expect(asked).toBe(3);
    expect(socket.isClosed).toBe(false);
  });

  test("a socket that is closed because its token expired comes back with the next one", async () => {
    tokened(20, 3_600);
    (await open()).say(initial(5));
    await vi.advanceTimersByTimeAsync(20_000);
    PlayedSocket.all[0]?.onclose?.({ code: 1008, reason: "the token expired" });

    const second = await opened();
    expect(second.query["since"]).toBe("5");
    second.onclose?.({ code: 1008, reason: "not allowed any more" });

    expect(counter().state).toMatchObject({ status: "closed", error: { data: { closeCode: 1008 } } });
  });

  test("a token that is as old as the last is refused, and that is the end", async () => {
    tokened(-1);
    await open();
    PlayedSocket.all[0]?.onclose?.({ code: 1008, reason: "the token expired" });
    await vi.advanceTimersByTimeAsync(250);
    PlayedSocket.all[1]?.onclose?.({ code: 1006, reason: "" });
    await vi.advanceTimersByTimeAsync(1e6);

    expect(PlayedSocket.all.length).toBe(2);
    expect(counter().state).toMatchObject({ status: "closed", error: { code: "UNAUTHORIZED" } });
  });

  test("a token that is no JWT is never replaced by itself", async () => {
    tokened(1);
    lifetimes = [];
    client.close();
    let tokens = 0;
    client = createClient({ url: "http://server.test", webSocket: PlayedSocket, getToken: () => `t${(tokens += 1)}` });
    stop = counter().connect();
    const socket = await open();
    for (let ping = 0; ping < 10; ping += 1) {
      await vi.advanceTimersByTimeAsync(30_000);
      socket.say({ type: "pong", timestamp: "" });
    }

    expect(tokens).toBe(1);
    expect(auths(socket)).toEqual([]);
  });
});

test("a token that cannot be had counts as a server that cannot be reached", async () => {
  const tokenless = createClient({
    url: "http://server.test",
    webSocket: PlayedSocket,
    getToken: () => {
      throw new Error("signed out");
    },
  });
  const object = tokenless.object("counter", "a");
  object.connect();
  await vi.advanceTimersByTimeAsync(1);

  expect(object.state).toMatchObject({
    status: "reconnecting",
    error: { code: "UNREACHABLE", cause: { message: "signed out" } },
  });
  expect(object.state.error).toBeInstanceOf(DormouseError);
  tokenless.close();
});
