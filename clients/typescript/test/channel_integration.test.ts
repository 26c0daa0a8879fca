// Channels and tokens against the real server, with a network that breaks.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import WebSocket from "ws";

import { Proxy } from "../../../tests/browser/proxy.mjs";
import { Server } from "../../../tests/browser/server.mjs";
import { type Channel, type ChannelClient, createClient } from "../src/channel.js";
import type { ClientOptions } from "../src/index.js";
import { jwt, SECRET } from "./jwt.js";
import { until } from "./until.js";

const HOUR_S = 3_600;

/** With channels that are one object, and with channels that are split. */
let servers: Record<1 | 3, Server>;
let settings: string;
let server: Server;
let proxy: Proxy;
let clients: ChannelClient[] = [];
let count = 0;

beforeAll(async () => {
  settings = await mkdtemp(path.join(tmpdir(), "dormouse-settings-"));
  const split = path.join(settings, "split.toml");
  await writeFile(split, "[channel]\nshards = 3\n");
  const start = (...args: string[]) =>
    Server.startWith(
      { DORMOUSE_AUTH_SECRET: SECRET },
      ...["--presence-grace", "100ms", "--drain-window", "200ms", ...args],
    );
  servers = { 1: await start(), 3: await start("--config", split) };
  server = servers[1];
});
afterAll(async () => {
  for (const each of Object.values(servers)) await each.dispose();
  await rm(settings, { recursive: true });
});
beforeEach(async () => {
  proxy = await Proxy.start(server.url);
});
afterEach(async () => {
  for (const client of clients) client.close();
  clients = [];
  await proxy.kill();
});

function token(sub: string, lifetimeS: number = HOUR_S, permissions: readonly string[] = ["read", "write"]): string {
  return jwt({ sub, username: sub.toUpperCase(), permissions, exp: Date.now() / 1_000 + lifetimeS });
}

/** A client of somebody, behind the proxy. */
function connect(sub: string, options: ClientOptions = {}): ChannelClient {
  const client = createClient({ url: proxy.url, webSocket: WebSocket, getToken: () => token(sub), ...options });
  clients.push(client);
  return client;
}

/** A channel that no other test knows, with so many people in it who are connected. */
async function channelOf(...clients: ChannelClient[]): Promise<Channel[]> {
  const id = `channel ${(count += 1)}`;
  const channels = clients.map((client) => client.channel(id));
  for (const channel of channels) channel.connect();
  for (const channel of channels) await until(() => channel.state.isLoaded);
  return channels;
}

const contents = (channel: Channel): string[] => channel.state.messages.map(({ content }) => content);
const post = (channel: Channel, content: string, sub = "carol") =>
  server.mutate("channel.post", { id: channel.id, content }, token(sub));

describe.each([1, 3] as const)("a channel of %i shards", (shards) => {
  beforeAll(() => {
    server = servers[shards];
  });
  afterAll(() => {
    server = servers[1];
  });

  test("two people see the same, each message once and in order", async () => {
    const [alice, bob] = (await channelOf(connect("alice"), connect("bob"))) as [Channel, Channel];

    const acks = await Promise.all(["a", "b", "c"].map((content) => alice.send(content)));
    await bob.send("d");
    await until(() => contents(alice).length === 4 && contents(bob).length === 4);

    for (const channel of [alice, bob]) {
      expect(contents(channel)).toEqual(["a", "b", "c", "d"]);
      expect(channel.state.messages.every(({ state }) => state === "sent")).toBe(true);
    }
    expect(alice.state.messages.slice(0, 3).map(({ id }) => id)).toEqual(acks.map(({ messageId }) => messageId));
    expect(alice.state).toMatchObject({ me: { userId: "alice", username: "ALICE" }, unread: 1 });
    expect(bob.state.onlineUsers.map(({ userId }) => userId).sort()).toEqual(["alice", "bob"]);
  });

  test("through cuts, crashes and absences every message is stored and listed once, in the order of its writer", async () => {
    const clients = [connect("alice"), connect("bob")];
    const [alice, bob] = (await channelOf(...clients)) as [Channel, Channel];
    let leave = alice.connect();
    const acks: Promise<unknown>[] = [];
    const write = (): void => {
      for (let round = 0; round < 6; round += 1) {
        const number = acks.length / 2;
        acks.push(alice.send(`alice ${number}`), bob.send(`bob ${number}`));
      }
    };
    const faults: readonly (() => void | Promise<void>)[] = [
      () => proxy.cut(),
      () => proxy.holdAnswers(),
      () => proxy.cut(),
      () => server.kill(),
      () => server.start(),
      () => leave(),
      () => proxy.kill(),
      () => proxy.listen(),
      () => {
        leave = alice.connect();
      },
      () => until(() => alice.state.status === "connected" && bob.state.status === "connected"),
      () => server.terminate(),
      () => server.start(),
      () => proxy.cut(),
    ];

    // Who has seen nothing begins with the newest.
    write();
    await until(() => contents(alice).length === acks.length && contents(bob).length === acks.length);
    for (const fault of faults) {
      write();
      await fault();
      write();
    }
    for (const client of clients) client.reconnect();
    await Promise.all(acks);
    await until(() => contents(alice).length === acks.length && contents(bob).length === acks.length);

    const newest = await alice.history({ limit: 200 });
    expect(contents(alice)).toEqual(contents(bob));
    expect(contents(alice).slice(-200)).toEqual(newest.messages.map(({ content }) => content).reverse());
    for (const name of ["alice", "bob"]) {
      const own = contents(bob).filter((content) => content.startsWith(name));
      expect(own).toEqual(Array.from({ length: acks.length / 2 }, (_, number) => `${name} ${number}`));
    }
  });

  test("who comes back after a long time is told all that was missed", async () => {
    const client = connect("alice");
    const channel = client.channel(`channel ${(count += 1)}`);
    await post(channel, "before");
    const leave = channel.connect();
    await until(() => contents(channel).length === 1);
    leave();
    await until(() => channel.state.status === "idle");
    await until(async () => (await server.metric("dormouse_sockets_open")) === 0);
    const missed = Array.from({ length: 620 }, (_, index) => `missed ${index}`);
    for (const content of missed) await post(channel, content);

    channel.connect();
    await until(() => contents(channel).length === 621);

    expect(contents(channel)).toEqual(["before", ...missed]);
  });

  test("where WebSockets do not pass, messages are posted and come as a stream", async () => {
    const [alice, bob] = (await channelOf(connect("alice", { transport: "sse" }), connect("bob"))) as [Channel, Channel];

    const { messageId } = await alice.send("posted");
    await bob.send("heard");
    await until(() => contents(alice).length === 2 && contents(bob).length === 2);

    expect(alice.state).toMatchObject({ transport: "sse", messages: [{ id: messageId, state: "sent" }, {}] });
    expect(contents(bob)).toEqual(["posted", "heard"]);
  });

  test("who may only read is told so, at the message", async () => {
    const [alice] = (await channelOf(connect("alice", { getToken: () => token("alice", HOUR_S, ["read"]) }))) as [Channel];

    await expect(alice.send("hello")).rejects.toMatchObject({ message: "No write permission" });

    expect(alice.state.messages).toMatchObject([{ state: "failed", error: { message: "No write permission" } }]);
    expect(alice.state.status).toBe("connected");
  });

  test("without a token nobody comes in, and nobody tries again", async () => {
    const channel = connect("nobody", { getToken: () => null }).channel("closed");
    channel.connect();
    await until(() => channel.state.status === "closed");

    expect(channel.state.error).toMatchObject({ code: "UNAUTHORIZED", data: { status: 401 } });
    await expect(channel.send("hello")).rejects.toMatchObject({ code: "UNAUTHORIZED" });
  });

  test("history, threads and members are asked for in pages", async () => {
    const [alice] = (await channelOf(connect("alice"))) as [Channel];
    const { messageId } = await alice.send("root");
    for (const content of ["r1", "r2", "r3"]) await alice.send(content, { threadId: messageId });

    const newest = await alice.history({ limit: 2 });
    const page = await alice.thread(messageId, { limit: 2 });
    const rest = await alice.thread(messageId, { after: page.next ?? "" });
    const { members } = await alice.members();

    expect(newest.messages.map(({ content }) => content)).toEqual(["r3", "r2"]);
    expect(page.messages.map(({ content }) => content)).toEqual(["root", "r1", "r2"]);
    expect(rest.messages.map(({ content }) => content)).toEqual(["r3"]);
    expect(members).toMatchObject([{ userId: "alice", isOnline: true }]);
  });
});

describe("receipts", () => {
  test("what was read is known to the others, and to this user's next page", async () => {
    const [alice, bob] = (await channelOf(connect("alice"), connect("bob"))) as [Channel, Channel];
    const [first, second] = [await bob.send("one"), await bob.send("two")];
    await until(() => alice.state.unread === 2);

    alice.markRead(first.messageId);
    await until(() => bob.state.receipts.get("alice") === first.messageId);
    expect(alice.state.unread).toBe(1);
    const later = connect("alice").channel(alice.id);
    later.connect();
    await until(() => later.state.isLoaded);

    expect(later.state).toMatchObject({ unread: 1, lastReadId: first.messageId });
    later.markRead(second.messageId);
    await until(() => alice.state.unread === 0);
    await later.members();
    expect(later.state.receipts.get("bob")).toBe(undefined);
    bob.markRead(second.messageId);
    await until(() => later.state.receipts.get("bob") === second.messageId);
  });
});

describe("presence", () => {
  test("of any kind: users, not connections, and who left is told after a moment", async () => {
    const id = `note ${(count += 1)}`;
    const seen = ["alice", "bob", "bob"].map((sub) => connect(sub).presence("note", id));
    const stops = seen.map((presence) => presence.connect());
    const users = () => seen[0]?.state.users.map(({ userId }) => userId).sort();
    await until(() => users()?.length === 2);
    expect(users()).toEqual(["alice", "bob"]);
    expect(seen[0]?.state.total).toBe(2);

    stops[1]?.();
    proxy.cut();
    await until(() => seen[0]?.state.status === "connected" && users()?.length === 2);
    stops[2]?.();

    await until(() => users()?.length === 1);
  });
});

describe("a crowd", () => {
  test("is counted, and named again when it has gone", async () => {
    const crowded = await Server.startWith(
      { DORMOUSE_AUTH_SECRET: SECRET },
      ...["--presence-grace", "100ms", "--presence-users-max", "3"],
    );
    try {
      const names = ["alice", "bob", "carol", "dave", "eve"];
      const people = names.map((sub) => connect(sub, { url: crowded.url }));
      const [channel, ...channels] = people.map((client) => client.channel("crowd"));
      const [presence, ...presences] = people.map((client) => client.presence("note", "crowd"));
      const stops = [...channels, ...presences].map((each) => each.connect());
      channel?.connect();
      presence?.connect();
      await until(() => channel?.state.onlineTotal === 5 && presence?.state.total === 5);

      for (const index of [1, 2, 3, 5, 6, 7]) stops[index]?.();

      await until(() => channel?.state.onlineUsers.length === 2 && presence?.state.users.length === 2);
      expect(channel?.state.onlineTotal).toBe(2);
      expect(presence?.state.total).toBe(2);
      expect(presence?.state.users.map(({ userId }) => userId).sort()).toEqual(["alice", "bob"]);
    } finally {
      await crowded.dispose();
    }
  });
});

describe("tokens", () => {
  /** Whose first token lives so many seconds, and all others an hour. */
  function brief(lifetimeS: number) {
    let tokens = 0;
    const client = connect("alice", { getToken: () => token("alice", (tokens += 1) === 1 ? lifetimeS : HOUR_S) });
    const channel = client.channel(`channel ${(count += 1)}`);
    const states: string[] = [];
    client.onState(() => {
      if (states.at(-1) !== client.state.status) states.push(client.state.status);
    });
    channel.connect();
    return { client, channel, states };
  }

  test("one that ends is replaced over the open socket", async () => {
    const { client, channel, states } = brief(3);
    const endsAt = Date.now() + 3_000;
    await until(() => channel.state.isLoaded);

    client.reconnect(); // Asks whether the connection lives, as every 30 s, and looks at the token.
    await until(() => Date.now() > endsAt + 500);
    await channel.send("still here");

    expect(states).toEqual(["connecting", "connected"]);
  });

  test("one that has ended closes the socket, which comes back with another, and misses nothing", async () => {
    const { channel, states } = brief(2);
    await until(() => channel.state.isLoaded);
    await until(() => states.includes("reconnecting"));
    await post(channel, "meanwhile");
    await until(() => contents(channel).length === 1);

    expect(states).toEqual(["connecting", "connected", "reconnecting", "connected"]);
  });

  test("one that cannot be replaced ends it", async () => {
    const old = token("alice", 2);
    const channel = connect("alice", { getToken: () => old }).channel(`channel ${(count += 1)}`);
    channel.connect();
    await until(() => channel.state.isLoaded);
    await until(() => channel.state.status === "closed");

    expect(channel.state.error).toMatchObject({ code: "UNAUTHORIZED", data: { status: 401 } });
  });
});
