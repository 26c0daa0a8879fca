// `/asyncapi.json`, checked by the parser of the AsyncAPI project.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Parser } from "@asyncapi/parser";

import { Server } from "../browser/server.mjs";

test("the document of the sockets is valid, without so much as a hint", async () => {
  const server = await Server.start();
  try {
    const source = await (await fetch(`${server.url}/asyncapi.json`)).text();

    const { document, diagnostics } = await new Parser().parse(source);

    assert.deepEqual(diagnostics.map(({ path, message }) => `${path.join(".")}: ${message}`), []);
    assert.equal(document.version(), "3.1.0");
    const channels = document.channels().all();
    const addresses = channels.map((channel) => channel.address());
    assert.deepEqual(addresses.sort(), ["/sse/channel/{id}", "/sse/counter/{id}", "/sse/note/{id}", "/ws/channel/{id}", "/ws/counter/{id}", "/ws/note/{id}"]);
  } finally {
    await server.dispose();
  }
});
