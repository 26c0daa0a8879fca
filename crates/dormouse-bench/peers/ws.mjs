// Node.js and the `ws` package: `node ws.mjs <port>`. Counters live in memory only.

import { createServer } from "node:http";

import { WebSocketServer } from "ws";

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

const [port] = process.argv.slice(2);

/** By name: the counter and the sockets that watch it. */
const rooms = new Map();

const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });

const server = createServer((request, response) => {
  if (request.method === "POST" && request.url === INCREMENT_PATH) {
    answerIncrement(request, response);
  } else if (request.method === "GET" && request.url.startsWith(GET_VALUE_PATH)) {
    const { counter } = roomNamed(queriedName(request.url));
    answer(response, result(JSON.stringify({ value: counter.value })));
  } else {
    response.writeHead(404).end();
  }
});
server.keepAliveTimeout = 60_000;

server.on("upgrade", (request, stream, head) => {
  if (!request.url.startsWith(SOCKET_PREFIX)) {
    stream.destroy();
    return;
  }
  const name = request.url.slice(SOCKET_PREFIX.length);
  sockets.handleUpgrade(request, stream, head, (socket) => attach(socket, roomNamed(name)));
});

server.listen({ host: "127.0.0.1", port: Number(port), backlog: 4096 });

// A function of its own: what a listener made in the handler above would close over, it would keep,
// and that is the whole request of each socket.
function attach(socket, { counter, watchers }) {
  watchers.add(socket);
  socket.on("close", () => watchers.delete(socket));
  socket.on("error", terminate);
  socket.send(initial(counter));
}

function terminate() {
  this.terminate();
}

function answerIncrement(request, response) {
  let body = "";
  request.setEncoding("utf8");
  request.on("data", (chunk) => {
    body += chunk;
  });
  request.on("end", () => {
    const { name, amount = 1 } = JSON.parse(body);
    const { counter, watchers } = roomNamed(name);
    const event = increment(counter, amount);
    // Encoded once for all: given a string, `send` would encode it again for each socket.
    const bytes = Buffer.from(event);
    for (const socket of watchers) {
      socket.send(bytes, { binary: false });
    }
    answer(response, result(event));
  });
}

function answer(response, text) {
  response.writeHead(200, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

function roomNamed(name) {
  let room = rooms.get(name);
  if (room === undefined) {
    room = { counter: newCounter(name), watchers: new Set() };
    rooms.set(name, room);
  }
  return room;
}
