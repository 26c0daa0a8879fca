// The client against the real server, with a network that breaks.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import WebSocket from "ws";

import { Proxy } from "../../../tests/browser/proxy.mjs";
import { Server } from "../../../tests/browser/server.mjs";
import {
  type Client,
  type ClientOptions,
  createClient,
  DormouseError,
  type EventOf,
  type Kinds,
} from "../src/index.js";
import { until } from "./until.js";

type CounterEventHere = EventOf<Kinds, "counter">;

let server: Server;
let proxy: Proxy;
let clients: Client[] = [];
let count = 0;

beforeAll(async () => {
  server = await Server.start("--drain-window", "500ms");
});
afterAll(() => server.dispose());
beforeEach(async () => {
  proxy = await Proxy.start(server.url);
});
afterEach(async () => {
  for (const client of clients) client.close();
  clients = [];
  await proxy.kill();
});

/** A client behind the proxy. */
function connect(options: ClientOptions = {}): Client {
  const client = createClient({ url: proxy.url, webSocket: WebSocket, ...options });
  clients.push(client);
  return client;
}

/** A counter that no other test knows, and what its watcher sees. */
function watched(options: ClientOptions = {}) {
  count += 1;
  const client = connect(options);
  const counter = client.object("counter", `counter ${count}`);
  const events: CounterEventHere[] = [];
  const states: string[] = [];
  const stopState = counter.onState(() => {
    if (states.at(-1) !== counter.state.status) states.push(counter.state.status);
  });
  const stop = counter.on("*", (event) => events.push(event));
  return {
    client,
    counter,
    events,
    states,
    stop: () => {
      stop();
      stopState();
    },
  };
}

const elsewhere = (name: string) => server.mutate("counter.increment", { name });

describe.each(["websocket", "sse"] as const)("over %s", (transport) => {
  test("a watcher gets the whole state and then every event", async () => {
    const { counter, events, states } = watched({ transport });
    await until(() => events.length === 1);

    await elsewhere(counter.id);
    await elsewhere(counter.id);
    await until(() => events.length === 3);

    expect(events.map(({ type, offset, value }) => [type, offset, value])).toEqual([
      ["initial", 0, 0],
      ["increment", 1, 1],
      ["increment", 2, 2],
    ]);
    expect(states).toEqual(["connecting", "connected"]);
    expect(counter.state).toMatchObject({ attempt: 0, error: null, retryAt: null, transport });
    expect(counter.state.lastUpdate).toBeInstanceOf(Date);
  });

  test.each(["a cut", "a dead proxy", "a killed server", "a restart"])(
    "after %s nothing is missing and nothing is double",
    async (how) => {
      const { counter, events, states } = watched({ transport });
      await until(() => events.length === 1);
      await elsewhere(counter.id);
      await until(() => events.length === 2);

      if (how === "a cut") {
        proxy.cut();
        await elsewhere(counter.id);
      } else if (how === "a dead proxy") {
        await proxy.kill();
        await elsewhere(counter.id);
        await proxy.listen();
      } else {
        await (how === "a restart" ? server.terminate() : server.kill());
        await server.start();
        await elsewhere(counter.id);
      }
      await elsewhere(counter.id);
      await until(() => events.at(-1)?.offset === 3);

      expect(events.map(({ type, offset }) => [type, offset])).toEqual([
        ["initial", 0],
        ["increment", 1],
        ["increment", 2],
        ["increment", 3],
      ]);
      expect(states).toContain("reconnecting");
      expect(states.at(-1)).toBe("connected");
    },
  );

  test("a call changes the object once, however often it is cut off", async () => {
    const { counter, events } = watched({ transport });
    await until(() => events.length === 1);

    proxy.holdAnswers();
    const result = counter.call("increment", { amount: 5 });
    await until(async () => (await server.mutate("counter.getValue", { name: counter.id }))["value"] === 5);
    proxy.cut();

    expect(await result).toMatchObject({ type: "increment", value: 5 });
    await until(() => events.length === 2);
    expect(await counter.call("getMetadata")).toMatchObject({ value: 5, operationCount: 1 });
  });

  test("a refused call rejects with what the server said", async () => {
    const note = connect({ transport }).object("note", `note ${(count += 1)}`);
    const stop = note.connect();
    await note.call("create", { title: "a" });
    await note.call("update", { blob: "b" });

    const refused = await note.call("update", { blob: "c", expectedVersion: 1 }).catch((err: unknown) => err);

    expect(refused).toBeInstanceOf(DormouseError);
    expect(refused).toMatchObject({
      code: "CONFLICT",
      isOutcomeUnknown: false,
      data: { current: { version: 2, blob: "b" } },
    });
    stop();
  });
});

test("a result comes after the event that the call caused", async () => {
  const { counter, events } = watched();
  await until(() => counter.state.status === "connected");

  const values = [];
  for (let call = 0; call < 20; call += 1) {
    const { value } = await counter.call("increment");
    values.push([value, events.at(-1)?.value]);
  }

  expect(values).toEqual(Array.from({ length: 20 }, (_, index) => [index + 1, index + 1]));
});

test("calls made while the connection is away are made in order once it is back", async () => {
  const { counter, events } = watched();
  await until(() => events.length === 1);
  await proxy.kill();
  await until(() => counter.state.status === "reconnecting");

  const results = Promise.all(Array.from({ length: 50 }, (_, value) => counter.call("setValue", { value })));
  await proxy.listen();

  expect((await results).map(({ value }) => value)).toEqual(Array.from({ length: 50 }, (_, value) => value));
  expect(events.map(({ offset }) => offset)).toEqual(Array.from({ length: 51 }, (_, offset) => offset));
});

test("a call without an answer ends in time, and says whether it may have been applied", async () => {
  const { counter, events } = watched();
  await until(() => events.length === 1);

  proxy.holdAnswers();
  const sent = await counter.call("increment", {}, { timeoutMs: 300 }).catch((err: unknown) => err);
  await proxy.kill();
  await until(() => counter.state.status === "reconnecting");
  const unsent = await counter.call("increment", {}, { timeoutMs: 100 }).catch((err: unknown) => err);
  const aborted = await counter.call("increment", {}, { signal: AbortSignal.abort() }).catch((err: unknown) => err);

  expect(sent).toMatchObject({ code: "CALL_TIMEOUT", isOutcomeUnknown: true });
  expect(unsent).toMatchObject({ code: "CALL_TIMEOUT", isOutcomeUnknown: false });
  expect(aborted).toMatchObject({ code: "ABORTED", isOutcomeUnknown: false });
});

test("more calls than the queue holds are refused at once", async () => {
  const { counter, events } = watched();
  await until(() => events.length === 1);
  await proxy.kill();
  await until(() => counter.state.status === "reconnecting");

  const calls = Array.from({ length: 1_001 }, () => counter.call("increment").catch((err: unknown) => err));

  expect(await calls[1_000]).toMatchObject({ code: "QUEUE_FULL", isOutcomeUnknown: false });
  clients[0]?.close();
  const codes = new Set((await Promise.all(calls.slice(0, 1_000))).map((err) => (err as DormouseError).code));
  expect(codes).toEqual(new Set(["CLOSED"]));
});

test("calls of an object that nobody watches go over HTTP and open no socket", async () => {
  const counter = connect().object("counter", `counter ${(count += 1)}`);

  expect(await counter.call("increment", { amount: 2 })).toMatchObject({ value: 2 });
  expect(await counter.call("getValue")).toEqual({ value: 2 });

  expect(counter.state.status).toBe("idle");
  expect(await server.metric("dormouse_sockets_open")).toBe(0);
});

test("a listing answers for all objects of a kind", async () => {
  const client = connect();
  const id = `listed ${(count += 1)}`;
  await client.object("note", id).call("create", { title: "in the list" });

  const { notes } = await client.list("note", "list", { limit: 200 });

  expect(notes).toContainEqual(expect.objectContaining({ id, title: "in the list", version: 1 }));
  await expect(client.list("note", "list", { limit: 0 })).rejects.toMatchObject({ code: "BAD_REQUEST" });
});

test("a text that is too large for a socket's message still gets through", async () => {
  const note = connect().object("note", `note ${(count += 1)}`);
  const versions: number[] = [];
  const stop = note.on("create", ({ data }) => versions.push(data.version));
  await until(() => note.state.status === "connected");

  const created = await note.call("create", { title: "large", blob: '"'.repeat(1024 * 1024) });

  expect(created.blob.length).toBe(1024 * 1024);
  await until(() => versions.length === 1);
  expect(note.state.status).toBe("connected");
  stop();
});

test("all who watch an object share one socket, which goes when the last one leaves", async () => {
  const { client, counter, events, stop } = watched();
  await until(() => events.length === 1);
  const late: CounterEventHere[] = [];
  const past: boolean[] = [];
  await elsewhere(counter.id);
  await until(() => events.length === 2);

  const stopLate = client.object("counter", counter.id).on("*", (event, isPast) => {
    late.push(event);
    past.push(isPast);
  });
  await elsewhere(counter.id);
  await until(() => late.length === 3);

  expect(late).toEqual(events);
  expect(past).toEqual([true, true, false]);
  expect(await server.metric("dormouse_sockets_open")).toBe(1);
  stop();
  stopLate();
  await until(async () => (await server.metric("dormouse_sockets_open")) === 0);
  expect(counter.state.status).toBe("idle");
});

test("who comes after a lot has happened gets the whole state anew, and so does everybody", async () => {
  const note = connect().object("note", `note ${(count += 1)}`);
  await note.call("create", { title: "grows" });
  const early: string[] = [];
  const late: string[] = [];
  const stops = [note.on("*", ({ type }) => early.push(type))];
  await until(() => early.length === 1);
  for (const letter of "abcd") await note.call("update", { blob: letter.repeat(400_000) });
  // Calls of this size go over HTTP, where an answer may come before the event.
  await until(() => early.length === 5);

  stops.push(note.on("*", ({ type }) => late.push(type)));
  await until(() => late.length === 1 && early.length === 6);

  expect(late).toEqual(["initial"]);
  expect(early.at(-1)).toBe("initial");
  for (const stop of stops) stop();
});

test("who watches two types gets them in the order in which they happened", async () => {
  const { client, counter, events } = watched();
  await until(() => events.length === 1);
  await elsewhere(counter.id);
  await until(() => events.length === 2);

  const seen: string[] = [];
  const again = client.object("counter", counter.id);
  again.on("increment", ({ type }) => seen.push(type));
  again.on("initial", ({ type }) => seen.push(type));
  await until(() => seen.length === 2);

  expect(seen).toEqual(["initial", "increment"]);
});

test("a loop sees every event, through a cut, until it is left", async () => {
  const client = connect();
  const counter = client.object("counter", `counter ${(count += 1)}`);
  const offsets: (number | undefined)[] = [];
  for await (const event of counter) {
    offsets.push(event.offset);
    if (event.offset === 5) break;
    if (event.offset === 2) proxy.cut();
    await elsewhere(counter.id);
  }

  expect(offsets).toEqual([0, 1, 2, 3, 4, 5]);
  await until(async () => (await server.metric("dormouse_sockets_open")) === 0);
});

test("a loop ends with the connection's error", async () => {
  const client = connect({ idFields: {} }) as unknown as Client<{
    nothing: { id: "id"; event: { type: "x" }; methods: object; listings: object };
  }>;

  const loop = (async () => {
    for await (const _ of client.object("nothing", "a")) expect.unreachable();
  })();

  await expect(loop).rejects.toMatchObject({ code: "NOT_FOUND", data: { status: 404 } });
});

test("where WebSockets do not pass, events come as a stream and calls go over HTTP", async () => {
  proxy.refuseUpgrades();
  const { counter, events } = watched();
  await until(() => counter.state.status === "connected");

  expect(counter.state.transport).toBe("sse");
  expect(await counter.call("increment")).toMatchObject({ value: 1 });
  await until(() => events.length === 2);
  proxy.cut();
  await elsewhere(counter.id);
  await until(() => events.length === 3);
  expect(events.map(({ type, offset }) => [type, offset])).toEqual([
    ["initial", 0],
    ["increment", 1],
    ["increment", 2],
  ]);
});

test("a token is asked for anew by every connection and call, and goes where tokens go", async () => {
  const protocols: unknown[] = [];
  const headers: unknown[] = [];
  class Spy extends WebSocket {
    constructor(url: string, offered?: string[]) {
      super(url, offered);
      protocols.push(offered);
    }
  }
  let tokens = 0;
  const { events, states } = watched({
    webSocket: Spy,
    getToken: () => Promise.resolve(`t${(tokens += 1)}`),
    fetch: (input, init) => {
      headers.push(new Headers(init?.headers).get("authorization"));
      return fetch(input, init);
    },
  });
  await until(() => events.length === 1);
  proxy.cut();
  // The back-off may end sooner than anybody looks.
  await until(() => states.includes("reconnecting") && states.at(-1) === "connected");

  await connect({
    getToken: () => "other",
    fetch: (input, init) => {
      headers.push(new Headers(init?.headers).get("authorization"));
      return fetch(input, init);
    },
  }).list("note", "list");

  expect(protocols.at(0)).toEqual(["dormouse", "bearer.t1"]);
  expect(protocols.at(-1)).toEqual(["dormouse", `bearer.t${tokens}`]);
  expect(tokens).toBeGreaterThanOrEqual(2);
  expect(headers.at(-1)).toBe("Bearer other");
});

test.each(["", ".", "..", "x".repeat(257)])("a name that no address can have, %j, is refused for good", async (id) => {
  const counter = connect().object("counter", id);
  const stop = counter.connect();
  await until(() => counter.state.status === "closed");

  expect(counter.state.error?.code).toMatch(/BAD_REQUEST|NOT_FOUND/);
  stop();
});

test.each(["a/b?c#d%", "with space", "ünï-🐭", "x".repeat(256)])(
  "a name such as %j leads to its object",
  async (id) => {
    const counter = connect().object("counter", id);
    const events: CounterEventHere[] = [];
    const stop = counter.on("*", (event) => events.push(event));
    await until(() => events.length === 1);
    await elsewhere(id);
    await until(() => events.length === 2);

    expect(events[1]?.metadata.name).toBe(id);
    stop();
  },
);

test("a client's state is that of the connection that needs attention most", async () => {
  const { client, counter } = watched();
  const other = client.object("note", `note ${(count += 1)}`);
  const stop = other.connect();
  await until(() => counter.state.status === "connected" && other.state.status === "connected");
  expect(client.state.status).toBe("connected");

  await proxy.kill();
  await until(() => client.state.status === "reconnecting");
  expect(client.state.error?.code).toMatch(/CLOSED|CONNECTION_LOST|UNREACHABLE/);

  await proxy.listen();
  client.reconnect();
  await until(() => client.state.status === "connected");
  stop();
});

test("a server that is full is waited for as long as it asks", async () => {
  const full = await Server.start("--sockets-per-object-max", "1");
  try {
    const [first, second] = [connect({ url: full.url }), connect({ url: full.url })].map((client) =>
      client.object("counter", "full"),
    );
    const leave = first?.connect();
    await until(() => first?.state.status === "connected");
    const stop = second?.connect();

    await until(() => second?.state.error?.code === "SERVICE_UNAVAILABLE");
    const waitMs = Number(second?.state.retryAt) - Date.now();
    leave?.();
    await until(() => second?.state.status === "connected");
    stop?.();

    expect(waitMs).toBeGreaterThan(500);
  } finally {
    await full.dispose();
  }
});

test("a page that may not call is told so, and does not ask again", async () => {
  const origin = "https://elsewhere.example";
  class FromElsewhere extends WebSocket {
    constructor(url: string, protocols?: string[]) {
      super(url, protocols, { origin });
    }
  }
  const { counter, states } = watched({
    webSocket: FromElsewhere,
    fetch: (input, init) => fetch(input, { ...init, headers: { ...init?.headers, origin } }),
  });
  await until(() => counter.state.status === "closed");

  expect(counter.state.error).toMatchObject({ code: "FORBIDDEN", data: { status: 403 } });
  expect(states).toEqual(["connecting", "closed"]);
});
