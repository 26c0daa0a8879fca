// Bun: `Bun.serve` with its native publish to a topic.
//
//   bun bun.mjs <port>              counters live in memory only
//   bun bun.mjs <port> <database>   every increment and its event are one durable SQLite transaction
//                                   before anyone is told (WAL, synchronous=FULL, one shared file)

import { Database } from "bun:sqlite";

import { increment, initial, newCounter, result } from "./counter.mjs";

const [port, databasePath] = process.argv.slice(2);
const counters = new Map();
const page = Bun.file(new URL("../tabs/page.html", import.meta.url));
const commit = databasePath ? openDatabase(databasePath) : () => {};

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(port),
  development: false,
  routes: {
    "/": () => new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } }),
    "/rpc/counter.increment": {
      POST: async (request) => {
        const { name, amount = 1 } = await request.json();
        const counter = counterNamed(name);
        const event = increment(counter, amount);
        commit(counter, event);
        server.publish(name, event);
        return json(result(event));
      },
    },
    "/rpc/counter.getValue": {
      GET: (request) => {
        const { name } = JSON.parse(new URL(request.url).searchParams.get("input"));
        return json(result(JSON.stringify({ value: counterNamed(name).value })));
      },
    },
    "/ws/counter/:name": (request, server) => {
      if (!server.upgrade(request, { data: counterNamed(request.params.name) })) {
        return new Response("upgrade required", { status: 426 });
      }
    },
  },
  fetch: () => new Response("not found", { status: 404 }),
  websocket: {
    open(socket) {
      const counter = socket.data;
      socket.subscribe(counter.name);
      socket.send(initial(counter));
    },
    message() {},
  },
});

function counterNamed(name) {
  let counter = counters.get(name);
  if (counter === undefined) {
    counter = newCounter(name);
    counters.set(name, counter);
  }
  return counter;
}

function json(text) {
  return new Response(text, { headers: { "content-type": "application/json" } });
}

/** Opens the shared file and returns the function that makes one increment durable. */
function openDatabase(path) {
  const database = new Database(path, { create: true, strict: true });
  database.exec("PRAGMA journal_mode = WAL");
  database.exec("PRAGMA synchronous = FULL");
  database.exec(`
    CREATE TABLE IF NOT EXISTS counter (
      name TEXT PRIMARY KEY, value INTEGER, createdAt TEXT, updatedAt TEXT, operationCount INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS event (
      name TEXT, offset INTEGER, body TEXT, PRIMARY KEY (name, offset)
    ) WITHOUT ROWID;
  `);
  const upsertCounter = database.query(`
    INSERT INTO counter VALUES ($name, $value, $createdAt, $updatedAt, $operationCount)
    ON CONFLICT (name) DO UPDATE SET
      value = $value, updatedAt = $updatedAt, operationCount = $operationCount
  `);
  const insertEvent = database.query("INSERT INTO event VALUES (?, ?, ?)");
  return database.transaction((counter, event) => {
    upsertCounter.run(counter);
    insertEvent.run(counter.name, counter.operationCount, event);
  });
}
