// What must compile, and what must not. Checked by `npm run typecheck`; never run.

import { QueryClient, useInfiniteQuery, useMutation, useQuery } from "@tanstack/react-query";

import { createClient as createChannelClient } from "../src/channel.js";
import {
  createClient,
  type CounterEvent,
  type CounterHistory,
  type CounterValue,
  type KindMap,
  type NoteData,
  type NoteDeleted,
  type NoteList,
} from "../src/index.js";
import { createHooks, useCounterWebSocket, useNoteWebSocket, useObject } from "../src/react.js";
import { createQueries } from "../src/tanstack.js";

/** Compiles only if both are the same type. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Same<A, B>): void {}

const client = createClient({ url: "http://localhost:8094" });
const counter = client.object("counter", "a");
const note = client.object("note", "a");

export async function calls(): Promise<void> {
  const value = await counter.call("getValue");
  same<typeof value, CounterValue>(true);
  const created = await note.call("create", { title: "a" });
  same<typeof created, NoteData>(true);
  const changed = await counter.call("increment", { amount: 2 }, { timeoutMs: 100, key: "k" });
  same<typeof changed, CounterEvent>(true);
  const list = await client.list("note", "list", { limit: 3 });
  same<typeof list, NoteList>(true);

  // @ts-expect-error there is no such kind
  client.object("nothing", "a");
  // @ts-expect-error there is no such method
  await counter.call("multiply");
  // @ts-expect-error an amount is a number
  await counter.call("increment", { amount: "2" });
  // @ts-expect-error there is no such field
  await counter.call("increment", { by: 2 });
  // @ts-expect-error it takes nothing
  await counter.call("reset", { value: 2 });
  // @ts-expect-error it needs a value
  await counter.call("setValue");
  // @ts-expect-error the object is named already
  await counter.call("increment", { name: "b" });
  // @ts-expect-error counters have no listing
  await client.list("counter", "list");
  // @ts-expect-error a listing is not a method of one object
  await note.call("list");
}

export async function events(): Promise<void> {
  counter.on("increment", (event) => {
    same<typeof event.previousValue, number>(true);
    same<typeof event.offset, number | undefined>(true);
  });
  counter.on("initial", (event) => {
    // @ts-expect-error there was nothing before
    event.previousValue;
  });
  note.on("*", (event) => {
    if (event.type === "delete") same<typeof event.data, NoteDeleted>(true);
    if (event.type === "update") same<typeof event.data, NoteData>(true);
  });
  // @ts-expect-error notes have no such event
  note.on("increment", () => {});
  for await (const event of counter) same<typeof event.value, number>(true);
}

interface Polls {
  poll: {
    id: "topic";
    event: { type: "voted"; yes: number };
    methods: { vote: { kind: "mutation"; input: { yes: boolean }; output: { yes: number } } };
    listings: Record<never, never>;
  };
}

export async function kindsOfMyOwn(): Promise<void> {
  const polls: KindMap<Polls> = {} as Polls;
  void polls;
  const own = createClient<Polls>({ idFields: { poll: "topic" } });
  const result = await own.object("poll", "a").call("vote", { yes: true });
  same<typeof result, { yes: number }>(true);
  // @ts-expect-error a counter is not among them
  own.object("counter", "a");
}

export async function channels(): Promise<void> {
  const chat = createChannelClient();
  const channel = chat.channel("general");
  const ack = await channel.send("hello", { threadId: "a" });
  same<typeof ack.messageId, string>(true);
  // @ts-expect-error a text is needed
  void channel.send({ html: "hello" });
  same<(typeof channel.state.messages)[number]["state"], "sending" | "sent" | "failed">(true);
  same<typeof channel.state.receipts, ReadonlyMap<string, string>>(true);
  chat.presence("note", "a");
  // @ts-expect-error there is no such kind
  chat.presence("poll", "a");
  createChannelClient<Polls>().presence("poll", "a");
  void chat.object("counter", "a").call("increment");
}

const { useObject: usePoll } = createHooks<Polls>();

export function useEverything(): void {
  const { value, call, lastUpdate } = useCounterWebSocket("a", {
    onUpdate: (update) => {
      same<typeof update.previousValue, number>(true);
      // @ts-expect-error the whole state is no update
      if (update.type === "initial") return;
    },
  });
  same<typeof value, number | undefined>(true);
  same<typeof lastUpdate, Date | null>(true);
  void call("increment", { amount: 1 });
  // @ts-expect-error there is no such method
  void call("create", { title: "" });
  const found = useNoteWebSocket("a").note;
  same<typeof found, NoteData | null | undefined>(true);
  const { lastEvent } = useObject("counter", "a");
  same<NonNullable<typeof lastEvent>["value"], number>(true);
  // @ts-expect-error there is no such kind
  useObject("poll", "a");
  const poll = usePoll("poll", "a").lastEvent;
  same<NonNullable<typeof poll>["yes"], number>(true);
}

export function useQueries(): void {
  const queries = createQueries(client, new QueryClient());
  const value = useQuery(queries.query("counter", "a", "getValue")).data;
  same<typeof value, CounterValue | undefined>(true);
  const list = useQuery(queries.listing("note", "list", { limit: 2 })).data;
  same<typeof list, NoteList | undefined>(true);
  const pages = useInfiniteQuery(queries.pages("counter", "a", "getHistory", { limit: 20 })).data?.pages;
  same<typeof pages, CounterHistory[] | undefined>(true);
  const { mutate } = useMutation(queries.mutation("note", "a", "update"));
  mutate({ title: "b" });
  // @ts-expect-error a title is a text
  mutate({ title: 7 });
  // @ts-expect-error a mutation is not a query
  queries.query("counter", "a", "increment");
  // @ts-expect-error a query is not a mutation
  queries.mutation("counter", "a", "getValue");
}
