// workerd: one Durable Object per counter, state and events in its own SQLite on the local disk, sockets
// accepted through the hibernation API. Started with `workerd.capnp`.

import { DurableObject } from "cloudflare:workers";

import {
  GET_VALUE_PATH,
  INCREMENT_PATH,
  SOCKET_PREFIX,
  increment,
  initial,
  newCounter,
  queriedName,
  result,
} from "./counter.mjs";

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === INCREMENT_PATH) {
      const { name, amount = 1 } = await request.json();
      return json(result(await env.COUNTER.getByName(name).increment(name, amount)));
    }
    if (pathname === GET_VALUE_PATH) {
      const name = queriedName(request.url);
      const value = await env.COUNTER.getByName(name).getValue(name);
      return json(result(JSON.stringify({ value })));
    }
    if (pathname.startsWith(SOCKET_PREFIX)) {
      return env.COUNTER.getByName(pathname.slice(SOCKET_PREFIX.length)).fetch(request);
    }
    return new Response("not found", { status: 404 });
  },
};

/** Storage writes of one turn are one transaction; its output gate holds answers and sends until that is on disk. */
export class Counter extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.sql = ctx.storage.sql;
    this.sql.exec(`
      CREATE TABLE IF NOT EXISTS counter (
        id INTEGER PRIMARY KEY, name TEXT, value INTEGER, createdAt TEXT, updatedAt TEXT, operationCount INTEGER
      );
      CREATE TABLE IF NOT EXISTS event (offset INTEGER PRIMARY KEY, body TEXT);
    `);
    const [row] = this.sql.exec("SELECT * FROM counter").toArray();
    this.counter = row;
  }

  increment(name, amount) {
    const counter = this.#counterNamed(name);
    const event = increment(counter, amount);
    this.sql.exec(
      "INSERT OR REPLACE INTO counter VALUES (1, ?, ?, ?, ?, ?)",
      counter.name,
      counter.value,
      counter.createdAt,
      counter.updatedAt,
      counter.operationCount,
    );
    this.sql.exec("INSERT INTO event VALUES (?, ?)", counter.operationCount, event);
    for (const socket of this.ctx.getWebSockets()) {
      socket.send(event);
    }
    return event;
  }

  getValue(name) {
    return this.#counterNamed(name).value;
  }

  fetch(request) {
    const name = new URL(request.url).pathname.slice(SOCKET_PREFIX.length);
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    server.send(initial(this.#counterNamed(name)));
    return new Response(null, { status: 101, webSocket: client });
  }

  webSocketMessage() {}

  #counterNamed(name) {
    this.counter ??= newCounter(name);
    return this.counter;
  }
}

function json(text) {
  return new Response(text, { headers: { "content-type": "application/json" } });
}
