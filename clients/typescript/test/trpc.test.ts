// An unmodified @trpc/client against the real server.

import {
  createTRPCClient,
  httpBatchLink,
  httpBatchStreamLink,
  httpLink,
  httpSubscriptionLink,
  splitLink,
  type TRPCClient,
  TRPCClientError,
  type TRPCLink,
} from "@trpc/client";
import { EventSource } from "eventsource";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { Proxy } from "../../../tests/browser/proxy.mjs";
import { PATIENCE_MS, Server } from "../../../tests/browser/server.mjs";
import type { AppRouter, FlatRouter } from "../src/trpc.js";
import { until } from "./until.js";

let server: Server;
let count = 0;

beforeAll(async () => {
  server = await Server.start();
});
afterAll(() => server.dispose());

type LinkMaker = (url: string) => TRPCLink<AppRouter>;
const LINKS: [string, LinkMaker][] = [
  ["httpLink", (url) => httpLink({ url })],
  ["httpBatchLink", (url) => httpBatchLink({ url })],
  ["httpBatchStreamLink", (url) => httpBatchStreamLink({ url })],
];

describe.each(LINKS)("%s", (_, link) => {
  const connect = (): TRPCClient<AppRouter> => createTRPCClient<AppRouter>({ links: [link(`${server.url}/rpc`)] });

  test("calls and queries answer with what they are typed as", async () => {
    const trpc = connect();
    const name = `counter ${(count += 1)}`;

    expect(await trpc.counter.increment.mutate({ name, amount: 3 })).toMatchObject({
      type: "increment",
      value: 3,
      previousValue: 0,
    });
    expect(await trpc.counter.getValue.query({ name })).toEqual({ value: 3 });
    const { operations } = await trpc.counter.getHistory.query({ name, limit: 10 });
    expect(operations.map(({ type, offset }) => [type, offset])).toEqual([["increment", 1]]);
    expect(await trpc.note.list.query()).toHaveProperty("notes");
  });

  test("calls that are made together fail and succeed each on its own", async () => {
    const trpc = connect();
    const id = `note ${(count += 1)}`;
    await trpc.note.create.mutate({ id, title: "one" });

    const outcomes = await Promise.allSettled([
      trpc.note.get.query({ id }),
      trpc.note.get.query({ id: "no such note" }),
      trpc.note.history.query({ id, limit: 1 }),
      // @ts-expect-error a limit is a number
      trpc.note.history.query({ id, limit: "1" }),
    ]);

    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "rejected"]);
    const codes = outcomes.flatMap((outcome) =>
      outcome.status === "rejected" ? (outcome.reason as TRPCClientError<AppRouter>).data?.code : [],
    );
    expect(codes).toEqual(["NOT_FOUND", "BAD_REQUEST"]);
  });

  test("a conflict says what is current", async () => {
    const trpc = connect();
    const { id } = await trpc.note.create.mutate({ title: "without an id" });
    await trpc.note.update.mutate({ id, blob: "theirs" });

    const conflict = await trpc.note.update
      .mutate({ id, blob: "mine", expectedVersion: 1 })
      .catch((err: unknown) => err);

    expect(conflict).toBeInstanceOf(TRPCClientError);
    expect((conflict as TRPCClientError<AppRouter>).data).toMatchObject({
      code: "CONFLICT",
      httpStatus: 409,
      current: { blob: "theirs" },
    });
  });
});

describe.each([
  ["httpLink", httpLink],
  ["httpBatchLink", httpBatchLink],
  ["httpBatchStreamLink", httpBatchStreamLink],
] as const)("%s on the flat names", (_, link) => {
  test("a note goes through its life", async () => {
    const trpc = createTRPCClient<FlatRouter>({ links: [link({ url: `${server.url}/api/v1` })] });

    const { id } = await trpc.createNote.mutate({ title: "one" });
    await trpc.updateNote.mutate({ id, blob: "b" });
    await trpc.revertNote.mutate({ id, version: 1 });
    const [note, { versions }, { notes }] = await Promise.all([
      trpc.getNote.query({ id }),
      trpc.getNoteHistory.query({ id }),
      trpc.listNotes.query({ limit: 200 }),
    ]);
    await trpc.deleteNote.mutate({ id });

    expect(note).toMatchObject({ id, version: 3, blob: "" });
    expect(versions.map(({ version }) => version)).toEqual([3, 2, 1]);
    expect(notes.map((each) => each.id)).toContain(id);
    await expect(trpc.getNote.query({ id })).rejects.toMatchObject({ data: { code: "NOT_FOUND" } });
  });
});

describe("httpBatchStreamLink", () => {
  test("a batch that is refused as a whole fails every call in it", async () => {
    const trpc = createTRPCClient<AppRouter>({ links: [httpBatchStreamLink({ url: `${server.url}/rpc` })] });

    const outcomes = await Promise.allSettled(Array.from({ length: 101 }, () => trpc.counter.getValue.query({ name: "a" })));

    expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set(["rejected"]));
    expect((outcomes[0] as PromiseRejectedResult).reason).toMatchObject({ data: { code: "BAD_REQUEST" } });
  });
});

describe("httpSubscriptionLink", () => {
  const connect = (url: string): TRPCClient<AppRouter> =>
    createTRPCClient<AppRouter>({
      links: [
        splitLink({
          condition: ({ type }) => type === "subscription",
          true: httpSubscriptionLink({ url: `${url}/rpc`, EventSource }),
          false: httpLink({ url: `${url}/rpc` }),
        }),
      ],
    });

  /** Subscribes, and keeps all that is heard. */
  function listen(trpc: TRPCClient<AppRouter>, input: { name: string; lastEventId?: string }) {
    const heard = { ids: [] as string[], values: [] as number[], types: [] as string[], states: [] as string[], errors: [] as unknown[] };
    const { unsubscribe } = trpc.counter.events.subscribe(input, {
      onData: ({ id, data }) => {
        heard.ids.push(id);
        heard.values.push(data.value);
        heard.types.push(data.type);
      },
      onConnectionStateChange: ({ state }) => heard.states.push(state),
      onError: (error) => heard.errors.push(error),
    });
    return { ...heard, unsubscribe };
  }

  test("the state and every change come with the place of each", async () => {
    const trpc = connect(server.url);
    const name = `subscribed ${(count += 1)}`;
    const heard = listen(trpc, { name });
    await until(() => heard.types.length === 1);

    await trpc.counter.increment.mutate({ name, amount: 2 });
    await trpc.counter.reset.mutate({ name });
    await until(() => heard.types.length === 3);
    heard.unsubscribe();

    expect(heard.types).toEqual(["initial", "increment", "reset"]);
    expect(heard.values).toEqual([0, 2, 0]);
    const [epoch] = heard.ids[1]!.split(":");
    expect(heard.ids.slice(1)).toEqual([`${epoch}:1`, `${epoch}:2`]);
    await until(async () => (await server.metric("dormouse_sockets_open")) === 0);
  });

  test("a subscriber that names a place gets what came after it, and nothing else", async () => {
    const trpc = connect(server.url);
    const name = `subscribed ${(count += 1)}`;
    const first = listen(trpc, { name });
    await until(() => first.ids.length === 1);
    await trpc.counter.increment.mutate({ name });
    await until(() => first.ids.length === 2);
    first.unsubscribe();
    await trpc.counter.increment.mutate({ name });
    await trpc.counter.increment.mutate({ name });

    const second = listen(trpc, { name, lastEventId: first.ids[1]! });
    await until(() => second.types.length === 2);
    second.unsubscribe();

    expect(second.values).toEqual([2, 3]);
    expect(second.types).toEqual(["increment", "increment"]);
  });

  test("a connection that breaks is resumed by Last-Event-ID, without a gap or a double", { timeout: 2 * PATIENCE_MS }, async () => {
    const proxy = await Proxy.start(server.url);
    const heard = listen(connect(proxy.url), { name: "cut" });
    const trpc = connect(server.url);
    await until(() => heard.types.length === 1);

    for (let round = 1; round <= 3; round += 1) {
      proxy.cut();
      for (let n = 0; n < 5; n += 1) await trpc.counter.increment.mutate({ name: "cut" });
      await until(() => heard.values.at(-1) === round * 5);
    }
    heard.unsubscribe();
    await proxy.kill();

    expect(heard.values).toEqual(Array.from({ length: 16 }, (_, n) => n));
    expect(heard.types.filter((type) => type === "initial")).toHaveLength(1);
    expect(heard.errors).toEqual([]);
  });

  test("a server that restarts is come back to", { timeout: 2 * PATIENCE_MS }, async () => {
    const own = await Server.start();
    const trpc = connect(own.url);
    const heard = listen(trpc, { name: "a" });
    await until(() => heard.types.length === 1);
    await trpc.counter.increment.mutate({ name: "a" });
    await until(() => heard.values.at(-1) === 1);

    await own.terminate();
    await own.start();
    await trpc.counter.increment.mutate({ name: "a" });
    await until(() => heard.values.at(-1) === 2);
    heard.unsubscribe();
    await own.dispose();

    expect(heard.types).toEqual(["initial", "increment", "increment"]);
    expect(heard.errors).toEqual([]);
    expect(heard.states).toContain("connecting");
  });

  test("what is refused is an error with its code, and ends the subscription", async () => {
    const trpc = connect(server.url);

    const errors: unknown[] = [];
    // @ts-expect-error a name is a text
    trpc.counter.events.subscribe({ name: 7 }, { onError: (error) => errors.push(error) });
    await until(() => errors.length === 1);

    expect(errors[0]).toBeInstanceOf(TRPCClientError);
    expect(errors[0]).toMatchObject({ message: "`name` must be a string, not a number", data: { code: "BAD_REQUEST", path: "counter.events" } });
  });
});
