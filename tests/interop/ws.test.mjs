// The client of npm's `ws`, against `/echo`, with and without compression.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";

import WebSocket from "ws";

import { Server } from "../browser/server.mjs";

const AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const LONG = "naïve 😀 ".repeat(20_000);

const CONFIGURATIONS = [
  { name: "no compression", args: [], options: {}, extensions: "" },
  { name: "compression", args: ["--compression"], options: {}, extensions: AGREED },
  { name: "compression that the client does not want", args: ["--compression"], options: { perMessageDeflate: false }, extensions: "" },
  {
    name: "compression with a limited window",
    args: ["--compression"],
    options: { perMessageDeflate: { serverMaxWindowBits: 10, clientMaxWindowBits: 9, threshold: 0 } },
    extensions: `${AGREED}; server_max_window_bits=9`,
  },
];

for (const { name, args, options, extensions } of CONFIGURATIONS) {
  describe(name, () => {
    let server;
    before(async () => (server = await Server.start("--echo", ...args)));
    after(() => server.dispose());

    async function withSocket(body) {
      const socket = new WebSocket(`${server.url.replace("http", "ws")}/echo`, options);
      const received = [];
      socket.on("message", (data, isBinary) => received.push(isBinary ? data : data.toString()));
      // Both come at once.
      const [[response]] = await Promise.all([once(socket, "upgrade"), once(socket, "open")]);
      assert.equal(response.headers["sec-websocket-extensions"] ?? "", extensions);
      try {
        await body(socket, async () => {
          while (received.length === 0) await once(socket, "message");
          return received.shift();
        });
      } finally {
        socket.terminate();
      }
    }

    test("text and binary come back as they were, of any size", () =>
      withSocket(async (socket, next) => {
        for (const message of ["", "short", LONG, Buffer.alloc(0), Buffer.from([0xff, 0x00]), Buffer.from(LONG)]) {
          socket.send(message);
          assert.deepEqual(await next(), message);
        }
      }));

    test("a message in fragments is one message, with a ping between them", () =>
      withSocket(async (socket, next) => {
        const bytes = Buffer.from(LONG);
        const pong = once(socket, "pong");

        // Cut within a character.
        socket.send(bytes.subarray(0, 4), { fin: false, binary: false });
        socket.ping("between");
        socket.send(bytes.subarray(4, 5000), { fin: false });
        socket.send(bytes.subarray(5000), { fin: true });

        assert.equal(await next(), LONG);
        assert.equal((await pong)[0].toString(), "between");
      }));

    test("a close is answered with its code", () =>
      withSocket(async (socket) => {
        socket.close(4321, "enough");
        const [code] = await once(socket, "close");
        assert.equal(code, 4321);
      }));

    test("a message right before a close is answered", () =>
      withSocket(async (socket, next) => {
        socket.send("last words");
        socket.close(1000);
        assert.equal(await next(), "last words");
        assert.equal((await once(socket, "close"))[0], 1000);
      }));

    test("a message over the limit closes with 1009", () =>
      withSocket(async (socket) => {
        socket.send("x".repeat(1024 * 1024 + 1));
        const [code] = await once(socket, "close");
        assert.equal(code, 1009);
      }));
  });
}

test("an event reaches sockets with and without compression alike", async () => {
  const server = await Server.start("--compression");
  try {
    const url = `${server.url.replace("http", "ws")}/ws/note/a`;
    const seen = [];
    for (const perMessageDeflate of [true, true, false]) {
      const socket = new WebSocket(url, { perMessageDeflate });
      await once(socket, "open");
      seen.push(once(socket, "message").then(([data]) => data.toString()));
    }

    await server.mutate("note.create", { id: "a", title: "large", blob: "lorem ipsum ".repeat(1000) });

    const [first, ...others] = await Promise.all(seen);
    assert.equal(JSON.parse(first).data.blob.length, 12_000);
    assert.deepEqual(others, [first, first]);
  } finally {
    await server.dispose();
  }
});
