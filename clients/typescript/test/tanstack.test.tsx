// The cache and the events: what is set, what is asked for again, what may not overwrite what.

import {
  InfiniteQueryObserver,
  QueryClient,
  QueryClientProvider,
  QueryObserver,
  useMutation,
  useQuery,
} from "@tanstack/react-query";
import { act, type ReactElement } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { type Client, createClient, type CounterMetadata, DormouseError, type ErrorCode } from "../src/index.js";
import { createQueries, type Queries } from "../src/tanstack.js";
import { PlayedSocket } from "./played.js";

const metadata = (
  value: number,
  operationCount: number = value,
  createdAt: string = "2025-01-15T12:00:00.000Z",
): CounterMetadata => ({
  id: 1,
  name: "a",
  value,
  createdAt,
  updatedAt: createdAt,
  operationCount,
});
const event = (type: string, state: CounterMetadata): object => ({
  type,
  value: state.value,
  previousValue: state.value - 1,
  metadata: state,
  timestamp: state.updatedAt,
  offset: state.operationCount,
  ...(type === "initial" ? { epoch: "e1" } : {}),
});
const note = (version: number, blob: string): object => ({
  id: "n",
  version,
  title: "t",
  blob,
  createdAt: "2025-01-15T12:00:00.000Z",
  updatedAt: "2025-01-15T12:00:00.000Z",
});

const VALUE = [["counter", "getValue"], { input: { name: "a" }, type: "query" }] as const;
const METADATA = [["counter", "getMetadata"], { input: { name: "a" }, type: "query" }] as const;

let client: Client;
let queryClient: QueryClient;
let queries: Queries;
/** Requests that wait for the test to answer. */
let requests: {
  readonly path: string;
  readonly answer: (data: unknown) => void;
  readonly refuse: (code: string, data?: object) => void;
}[];

beforeEach(() => {
  vi.useFakeTimers();
  PlayedSocket.all = [];
  requests = [];
  client = createClient({
    url: "http://server.test",
    webSocket: PlayedSocket,
    fetch: (url) =>
      new Promise((resolve) => {
        const reply = (body: object): void => resolve(new Response(JSON.stringify(body)));
        requests.push({
          path: new URL(String(url)).pathname,
          answer: (data) => reply({ result: { data } }),
          refuse: (code, data) => reply({ error: { message: code, code: -1, data: { code, ...data } } }),
        });
      }),
  });
  queryClient = new QueryClient();
  queries = createQueries(client, queryClient);
});
afterEach(() => {
  client.close();
  queryClient.clear();
  vi.useRealTimers();
});

const pass = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const shown = (key: readonly unknown[]): unknown => queryClient.getQueryData(key);

/** Follows an object through a socket that is open. */
async function follow(kind: "counter" | "note", id: string): Promise<{ socket: PlayedSocket; stop: () => void }> {
  const stop = queries.follow(kind, id);
  await pass();
  const socket = PlayedSocket.all.at(-1) as PlayedSocket;
  socket.onopen?.();
  return { socket, stop };
}

/** Answers the newest call through the socket. */
function answerCall(socket: PlayedSocket, frame: object): void {
  socket.say({ type: "result", id: socket.said.at(-1)?.["id"], ...frame });
}

test("events set the value and the metadata, and make the history be asked for again, but not for each event", async () => {
  const { socket } = await follow("counter", "a");
  const history = new InfiniteQueryObserver(queryClient, queries.pages("counter", "a", "getHistory", { limit: 20 }));
  history.subscribe(() => {});
  await pass();
  const asked = () => socket.said.filter(({ method }) => method === "getHistory").length;
  expect(asked()).toBe(1);
  answerCall(socket, { data: { operations: [] } });

  socket.say(event("initial", metadata(0)));
  for (let value = 1; value <= 50; value += 1) socket.say(event("increment", metadata(value)));

  expect(shown(VALUE)).toEqual({ value: 50 });
  expect(shown(METADATA)).toEqual(metadata(50));
  await pass(200);
  expect(asked()).toBe(2);
});

test("a late answer does not overwrite what an event said, and a newer one does", async () => {
  const { socket } = await follow("counter", "a");
  const value = new QueryObserver(queryClient, queries.query("counter", "a", "getValue"));
  value.subscribe(() => {});
  await pass();

  socket.say(event("initial", metadata(1)));
  socket.say(event("increment", metadata(2)));
  answerCall(socket, { data: metadata(1) });
  await pass();
  expect(value.getCurrentResult()).toMatchObject({ status: "success", fetchStatus: "idle", data: { value: 2 } });

  void value.refetch();
  await pass();
  answerCall(socket, { data: metadata(7) });
  await pass();
  expect(value.getCurrentResult().data).toEqual({ value: 7 });
  expect(shown(METADATA)).toEqual(metadata(2));
});

test("a late answer of somebody else's query under the same key does not overwrite it either", async () => {
  const { socket } = await follow("counter", "a");
  let answer: (value: unknown) => void = () => {};
  // As @trpc/tanstack-react-query makes them.
  const value = new QueryObserver(queryClient, {
    queryKey: VALUE,
    queryFn: () => new Promise((resolve) => (answer = resolve)),
  });
  value.subscribe(() => {});
  socket.say(event("initial", metadata(1)));
  socket.say(event("increment", metadata(2)));

  answer({ value: 1 });
  await pass();

  expect(value.getCurrentResult().data).toEqual({ value: 2 });
});

test("a whole state replaces what is known even by something older, such as that of another life", async () => {
  const { socket } = await follow("counter", "a");
  socket.say(event("initial", metadata(9)));
  socket.say({ ...event("initial", metadata(3)), epoch: "e2" });
  expect(shown(VALUE)).toEqual({ value: 3 });

  const read = queryClient.fetchQuery(queries.query("counter", "a", "getMetadata"));
  await pass();
  answerCall(socket, { data: metadata(1, 99, "2024-01-01T00:00:00.000Z") });
  await read;

  expect(shown(METADATA)).toEqual(metadata(3));
});

test("a mutation shows at once what it will do, and never counts itself twice", async () => {
  const { socket } = await follow("counter", "a");
  socket.say(event("initial", metadata(10)));
  const observed: unknown[] = [];
  queryClient.getQueryCache().subscribe(() => {
    const value = (shown(VALUE) as { value: number } | undefined)?.value;
    if (observed.at(-1) !== value) observed.push(value);
  });
  const increment = queries.mutation("counter", "a", "increment");
  const mutate = () => queryClient.getMutationCache().build(queryClient, increment).execute({ amount: 1 });

  const calls = [mutate(), mutate(), mutate()];
  await pass();
  expect(shown(VALUE)).toEqual({ value: 13 });
  const ids = socket.said.map(({ id }) => id);
  for (const [index, id] of ids.entries()) {
    const state = metadata(11 + index);
    socket.say(event("increment", state));
    socket.say({ type: "result", id, data: event("increment", state) });
    await pass();
  }
  await Promise.all(calls);

  expect(shown(VALUE)).toEqual({ value: 13 });
  expect(observed).toEqual([10, 11, 12, 13]);
});

test("what a refused mutation showed is taken back, and what others did meanwhile stays", async () => {
  const { socket } = await follow("counter", "a");
  socket.say(event("initial", metadata(10)));
  const call = queryClient
    .getMutationCache()
    .build(queryClient, queries.mutation("counter", "a", "setValue"))
    .execute({ value: 99 });
  const refused = call.catch((err: unknown) => err);
  await pass();
  expect(shown(VALUE)).toEqual({ value: 99 });

  socket.say({ type: "error", id: socket.said.at(-1)?.["id"], code: "BAD_REQUEST", message: "no" });
  expect(await refused).toMatchObject({ code: "BAD_REQUEST" });
  expect(shown(VALUE)).toEqual({ value: 10 });
  socket.say(event("increment", metadata(11)));

  expect(shown(VALUE)).toEqual({ value: 11 });
});

test("without events a mutation's result is shown, and the history asked for again", async () => {
  queryClient.setQueryData(METADATA, metadata(1));
  queryClient.setQueryData(VALUE, { value: 1 });
  const call = queryClient
    .getMutationCache()
    .build(queryClient, queries.mutation("counter", "a", "increment"))
    .execute({});
  await pass();
  expect(shown(VALUE)).toEqual({ value: 2 });
  expect(requests.at(-1)?.path).toBe("/rpc/counter.increment");
  const invalidated = vi.spyOn(queryClient, "invalidateQueries");

  requests.at(-1)?.answer(event("increment", metadata(2)));
  await call;

  expect(shown(VALUE)).toEqual({ value: 2 });
  expect(shown(METADATA)).toEqual(metadata(2));
  expect(invalidated.mock.calls).toEqual([[{ queryKey: [["counter", "getHistory"], { input: { name: "a" } }] }]]);
});

test("a note follows its events, a deleted one is gone, and the list is asked for again", async () => {
  const { socket } = await follow("note", "n");
  const current = new QueryObserver(queryClient, queries.query("note", "n", "get"));
  current.subscribe(() => {});
  socket.say({ type: "initial", data: note(1, "a"), epoch: "e1", offset: 1 });
  socket.say({ type: "update", data: note(2, "b"), offset: 2 });
  await pass();
  expect(current.getCurrentResult().data).toEqual(note(2, "b"));

  socket.say({ type: "delete", data: { id: "n" }, offset: 3 });
  await pass();
  expect(current.getCurrentResult().data).toBe(undefined);
  socket.say({ type: "error", id: socket.said.at(-1)?.["id"], code: "NOT_FOUND", message: "no such note" });
  await pass();
  expect(current.getCurrentResult()).toMatchObject({ status: "error", error: { code: "NOT_FOUND" } });

  socket.say({ type: "create", data: note(1, "again"), epoch: "e1", offset: 4 });
  await pass();
  expect(current.getCurrentResult().data).toEqual(note(1, "again"));
  const invalidated = vi.spyOn(queryClient, "invalidateQueries");
  await pass(200);
  expect(invalidated.mock.calls.map(([filters]) => filters?.queryKey)).toContainEqual([["note", "list"]]);
});

test("an update of a note shows at once, and gives way to a conflict", async () => {
  const { socket } = await follow("note", "n");
  socket.say({ type: "initial", data: note(1, "a"), epoch: "e1", offset: 1 });
  const key = queries.query("note", "n", "get").queryKey;
  const update = queries.mutation("note", "n", "update");
  const call = queryClient
    .getMutationCache()
    .build(queryClient, update)
    .execute({ blob: "mine", expectedVersion: 1 })
    .catch((err: unknown) => err);
  await pass();
  expect(shown(key)).toEqual(note(1, "mine"));

  socket.say({ type: "update", data: note(2, "theirs"), offset: 2 });
  socket.say({
    type: "error",
    id: socket.said.at(-1)?.["id"],
    code: "CONFLICT",
    message: "no",
    data: { current: note(2, "theirs") },
  });

  expect(await call).toMatchObject({ code: "CONFLICT", data: { current: { version: 2 } } });
  expect(shown(key)).toEqual(note(2, "theirs"));
});

test("following ends with its socket, and keeps nothing", async () => {
  const { socket, stop } = await follow("counter", "a");
  socket.say(event("initial", metadata(1)));
  stop();
  await pass(1_000);

  expect(socket.isClosed).toBe(true);
  queryClient.setQueryData(VALUE, { value: 5 });
  expect(shown(VALUE)).toEqual({ value: 5 });
});

test("what cannot succeed is not asked again, what may is asked three times more", () => {
  const { retry } = queries.query("note", "n", "get");
  const repeated = (code: ErrorCode) => [0, 1, 2, 3].map((failures) => retry(failures, new DormouseError(code, "no")));

  expect(repeated("NOT_FOUND")).toEqual([false, false, false, false]);
  expect(repeated("SERVICE_UNAVAILABLE")).toEqual([true, true, true, false]);
});

test("the options fit useQuery and useMutation as they are", async () => {
  globalThis.IS_REACT_ACT_ENVIRONMENT = true;
  let text = "";
  function Counter(): ReactElement {
    const { data } = useQuery(queries.query("counter", "a", "getValue"));
    const { mutate } = useMutation(queries.mutation("counter", "a", "increment"));
    text = `${data?.value}`;
    return <button type="button" onClick={() => mutate({ amount: 5 })} />;
  }
  const { socket } = await follow("counter", "a");
  const element = document.createElement("div");
  const root = createRoot(element);
  await act(async () => {
    root.render(
      <QueryClientProvider client={queryClient}>
        <Counter />
      </QueryClientProvider>,
    );
    socket.say(event("initial", metadata(1)));
    await pass(10);
  });
  expect(text).toBe("1");

  await act(async () => {
    element.querySelector("button")?.click();
    await pass(10);
  });

  expect(text).toBe("6");
  act(() => root.unmount());
});
