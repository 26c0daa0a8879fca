// Chromium's own WebSocket, against `/echo`, with and without compression.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, withTabs } from "./tabs.mjs";

const AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

for (const [name, args, extensions] of [
  ["plain", ["--echo"], ""],
  ["compressed", ["--echo", "--compression"], AGREED],
]) {
  test(`Chromium's messages come back as they were, ${name}`, async () => {
    await withTabs(browser, { args }, async ({ context, server }) => {
      const page = await context.newPage();
      await page.goto(server.url);

      const seen = await page.evaluate(async () => {
        const socket = new WebSocket(`ws://${location.host}/echo`);
        socket.binaryType = "arraybuffer";
        await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
        const next = () => new Promise((resolve) => (socket.onmessage = ({ data }) => resolve(data)));
        const differing = [];
        for (const text of ["", "short", "naïve 😀 ".repeat(20_000)]) {
          socket.send(text);
          if ((await next()) !== text) differing.push(`text of ${text.length}`);
        }
        for (const size of [0, 2, 60_000]) {
          const bytes = crypto.getRandomValues(new Uint8Array(size));
          socket.send(bytes);
          const back = new Uint8Array(await next());
          if (back.length !== size || back.some((byte, at) => byte !== bytes[at])) differing.push(`${size} bytes`);
        }
        socket.close(4321, "enough");
        const { code, wasClean } = await new Promise((resolve) => (socket.onclose = resolve));
        return { differing, extensions: socket.extensions, code, wasClean };
      });

      assert.deepEqual(seen, { differing: [], extensions, code: 4321, wasClean: true });
    });
  });

  test(`Chromium is told why its message was too large, ${name}`, async () => {
    await withTabs(browser, { args }, async ({ context, server }) => {
      const page = await context.newPage();
      await page.goto(server.url);

      const seen = await page.evaluate(async () => {
        const socket = new WebSocket(`ws://${location.host}/echo`);
        await new Promise((resolve) => (socket.onopen = resolve));
        socket.send("x".repeat(1024 * 1024 + 1));
        const { code, reason } = await new Promise((resolve) => (socket.onclose = resolve));
        return { code, reason };
      });

      assert.deepEqual(seen, { code: 1009, reason: "the message is over the size limit" });
    });
  });
}
