// tRPC's clients know the server's procedures. Checked by `npm run typecheck`; never run.

import { createTRPCClient, httpLink } from "@trpc/client";
import type { inferRouterInputs, inferRouterOutputs } from "@trpc/server";
import { createTRPCContext } from "@trpc/tanstack-react-query";
import { useMutation, useQuery } from "@tanstack/react-query";

import type { CounterEvent, CounterValue, NoteData, NoteList } from "../src/index.js";
import type { AppRouter, FlatRouter, RouterOf } from "../src/trpc.js";

/** Whether each is assignable to the other, and the first is not `any`: tRPC writes types in its own way. */
type Same<A, B> = 0 extends A & 1 ? false : [A, B] extends [B, A] ? true : false;
function same<A, B>(_: Same<A, B>): void {}

const trpc = createTRPCClient<AppRouter>({ links: [httpLink({ url: "/rpc" })] });
const flat = createTRPCClient<FlatRouter>({ links: [httpLink({ url: "/api/v1" })] });

export async function calls(): Promise<void> {
  const changed = await trpc.counter.increment.mutate({ name: "a", amount: 2 });
  same<typeof changed, CounterEvent>(true);
  const value = await trpc.counter.getValue.query({ name: "a" });
  same<typeof value, CounterValue>(true);
  const note = await trpc.note.create.mutate({ title: "without an id" });
  same<typeof note, NoteData>(true);
  const list = await trpc.note.list.query();
  same<typeof list, NoteList>(true);
  const again = await flat.updateNote.mutate({ id: "a", blob: "b", expectedVersion: 1 });
  same<typeof again, NoteData>(true);
  same<typeof list, Awaited<ReturnType<typeof flat.listNotes.query>>>(true);
  trpc.counter.events.subscribe(
    { name: "a", lastEventId: "e:1" },
    {
      onData: ({ id, data }) => {
        same<typeof id, string>(true);
        same<typeof data.value, number>(true);
      },
    },
  );

  // @ts-expect-error an amount is a number
  await trpc.counter.increment.mutate({ name: "a", amount: "2" });
  // @ts-expect-error a counter has a name
  await trpc.counter.increment.mutate({ amount: 2 });
  // @ts-expect-error there is no such field
  await trpc.counter.increment.mutate({ name: "a", by: 2 });
  // @ts-expect-error it takes nothing else
  await trpc.counter.reset.mutate({ name: "a", value: 1 });
  // @ts-expect-error only a creation may be without an id
  await trpc.note.update.mutate({ title: "b" });
  // @ts-expect-error a query is not a mutation
  await trpc.counter.getValue.mutate({ name: "a" });
  // @ts-expect-error there is no such procedure
  await trpc.counter.multiply.mutate({ name: "a" });
  // @ts-expect-error a limit is a number
  await flat.listNotes.query({ limit: "2" });
}

const { useTRPC } = createTRPCContext<AppRouter>();

export function useHooks(): void {
  const options = useTRPC();
  const value = useQuery(options.counter.getValue.queryOptions({ name: "a" })).data;
  same<typeof value, CounterValue | undefined>(true);
  const { mutate } = useMutation(options.note.update.mutationOptions());
  mutate({ id: "a", title: "b" });
  // @ts-expect-error a title is a text
  mutate({ id: "a", title: 7 });
}

same<inferRouterInputs<AppRouter>["counter"]["getValue"], { readonly name: string }>(true);
same<inferRouterOutputs<AppRouter>["note"]["get"], NoteData>(true);

interface Polls {
  poll: {
    id: "topic";
    event: { type: "voted"; yes: number };
    methods: { vote: { kind: "mutation"; input: { yes: boolean }; output: { yes: number } } };
    listings: Record<never, never>;
  };
}
const own = createTRPCClient<RouterOf<Polls>>({ links: [httpLink({ url: "/rpc" })] });

export async function kindsOfMyOwn(): Promise<void> {
  same<{ yes: number }, Awaited<ReturnType<typeof own.poll.vote.mutate>>>(true);
  // @ts-expect-error a vote is yes or no
  await own.poll.vote.mutate({ topic: "a", yes: 1 });
}
