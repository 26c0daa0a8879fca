// An unmodified @trpc/client against the real server.

import {
  createTRPCClient,
  httpBatchLink,
  httpLink,
  type TRPCClient,
  TRPCClientError,
  type TRPCLink,
} from "@trpc/client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { Server } from "../../../tests/browser/server.mjs";
import type { AppRouter, FlatRouter } from "../src/trpc.js";

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
