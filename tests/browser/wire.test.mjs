// How the page's connection follows the protocol, against a socket that a test plays by hand.

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { after, before, test } from "node:test";

import { PATIENCE_MS } from "./server.mjs";
import { launch, withTabs } from "./tabs.mjs";

const EPOCH = "e1";
const PING_INTERVAL_MS = 30_000;
const PONG_TIMEOUT_MS = 10_000;

/** A clock can only be stopped in its future; this is too little for any timer of the page. */
const PAUSE_AHEAD_MS = 2_000;

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 4001, 4002, 4003, 4004, 4005]) {
  test(`after close code ${code} the page stays closed until a person asks`, async () => {
    await withPlayedSocket(async ({ tab, sockets, next }) => {
      const socket = await next();
      await tab.shows("connection-state", "connected");

      await socket.close({ code });

      await tab.shows("connection-state", "closed");
      assert.match(await tab.at("connection-detail").textContent(), new RegExp(`\\(${code}\\)$`));
      await tab.page.clock.fastForward(120_000);
      assert.equal(sockets.length, 1);
      await tab.click("connection-again");
      await next();
      await tab.shows("connection-state", "connected");
    });
  });
}

for (const code of [1011, 1012, 1013, 4900]) {
  test(`after close code ${code} the page comes back by itself and resumes`, async () => {
    await withPlayedSocket(async ({ tab, next }) => {
      const first = await next();
      send(first, initial({ offset: 7, value: 7 }));
      await tab.shows("counter-value", 7);

      await first.close({ code });
      await tab.shows("connection-state", "reconnecting");
      await tab.page.clock.fastForward(60_000);
      const second = await next();

      assert.deepEqual(query(second), { since: "7", epoch: EPOCH });
      send(second, { type: "resumed", epoch: EPOCH, offset: 8, replayed: 1 });
      send(second, increment({ offset: 8, value: 8 }));
      await tab.shows("counter-value", 8);
      await tab.shows("connection-state", "connected");
    });
  });
}

test("a restarting server's window is used whole", async () => {
  await withPlayedSocket(async ({ tab, next }) => {
    const socket = await next();
    await tab.shows("connection-state", "connected");
    await tab.page.evaluate(() => (Math.random = () => 0.99));

    await socket.close({ code: 1012, reason: '{"withinMs":20000}' });

    await tab.shows("connection-detail", "the server restarts · attempt 1 · in 20 s");
  });
});

test("the back-off grows to 30 s, and starts over after five seconds of uptime", async () => {
  await withPlayedSocket(async ({ tab, next }) => {
    await tab.page.evaluate(() => (Math.random = () => 0.99));
    const waited = [];
    for (let failure = 0; failure < 10; failure += 1) {
      const socket = await next();
      await tab.shows("connection-state", "connected");
      await socket.close({ code: 1011 });
      await tab.shows("connection-state", "reconnecting");
      waited.push(/in (\d+) s/.exec(await tab.at("connection-detail").textContent())[1]);
      await tab.page.clock.fastForward(30_000);
    }
    assert.deepEqual(waited, ["1", "1", "1", "2", "4", "8", "16", "30", "30", "30"]);

    const socket = await next();
    await tab.shows("connection-state", "connected");
    await tab.page.clock.fastForward(5_000);
    await socket.close({ code: 1011 });

    await tab.shows("connection-detail", "the connection was lost · attempt 1 · in 1 s");
  });
});

test("a server that falls silent is left after a ping without an answer", async () => {
  await withPlayedSocket(async ({ tab, next, said }) => {
    const socket = await next();
    await tab.shows("connection-state", "connected");

    await tab.page.clock.fastForward(PING_INTERVAL_MS);
    await until(said, { type: "ping" });
    send(socket, { type: "pong", timestamp: "2025-01-15T12:00:00.000Z", offset: 0 });
    await tab.page.clock.fastForward(PING_INTERVAL_MS);
    await until(said, { type: "ping" });
    assert.equal(await tab.at("connection-state").textContent(), "connected");
    await tab.page.clock.fastForward(PONG_TIMEOUT_MS);

    await tab.shows("connection-state", "reconnecting");
    assert.match(await tab.at("connection-detail").textContent(), /^the server fell silent/);
  });
});

test("an event that comes twice counts once, and one that is missing is asked for", async () => {
  await withPlayedSocket(async ({ tab, next }) => {
    const first = await next();
    send(first, initial({ offset: 5, value: 50 }));
    send(first, increment({ offset: 6, value: 60 }));
    send(first, increment({ offset: 6, value: 999 }));
    await tab.shows("counter-value", 60);

    send(first, increment({ offset: 8, value: 80 }));
    await tab.shows("connection-state", "reconnecting");
    assert.equal(await tab.at("counter-value").textContent(), "60");
    await tab.page.clock.fastForward(60_000);
    const second = await next();

    assert.deepEqual(query(second), { since: "6", epoch: EPOCH });
    send(second, { type: "resumed", epoch: EPOCH, offset: 8, replayed: 2 });
    send(second, increment({ offset: 7, value: 70 }));
    send(second, increment({ offset: 8, value: 80 }));
    await tab.shows("counter-value", 80);
    assert.deepEqual(await tab.offsets(), [8, 7, 6]);
  });
});

test("an initial replaces all that was known, also in the middle", async () => {
  await withPlayedSocket(async ({ tab, next }) => {
    const socket = await next();
    send(socket, initial({ offset: 5, value: 50 }));
    send(socket, increment({ offset: 6, value: 60 }));
    await tab.shows("counter-value", 60);

    send(socket, { ...initial({ offset: 2, value: 20 }), epoch: "e2" });
    send(socket, increment({ offset: 3, value: 30 }));

    await tab.shows("counter-value", 30);
    assert.deepEqual(await tab.offsets(), [3]);
    await socket.close({ code: 1013 });
    await tab.shows("connection-state", "reconnecting");
    await tab.page.clock.fastForward(60_000);
    assert.deepEqual(query(await next()), { since: "3", epoch: "e2" });
  });
});

test("frames that are not understood are passed over", async () => {
  await withPlayedSocket(async ({ tab, next }) => {
    const socket = await next();
    for (const frame of ["", "null", "7", "[]", "{", '{"type":"presence_state","users":[]}', "{}"]) socket.send(frame);
    send(socket, initial({ offset: 1, value: 1 }));

    await tab.shows("counter-value", 1);
    assert.deepEqual(tab.complaints, []);
  });
});

/**
 * Opens a tab whose counter's sockets are played by the test. `next` gives each in turn, `sockets` are
 * all so far, `said` is what the page sent. Time stands still until `tab.page.clock` moves it.
 */
async function withPlayedSocket(body) {
  await withTabs(browser, {}, async ({ openTab }) => {
    const sockets = [];
    const said = [];
    const arrivals = new EventEmitter();
    let taken = 0;
    const next = async () => {
      if (sockets.length === taken) await once(arrivals, "socket", { signal: AbortSignal.timeout(PATIENCE_MS) });
      taken += 1;
      return sockets[taken - 1];
    };
    const tab = await openTab("/", async (page) => {
      await page.clock.install();
      await page.routeWebSocket(/\/ws\/counter\//, (socket) => {
        socket.onMessage((text) => {
          said.push(JSON.parse(text));
          arrivals.emit("said");
        });
        sockets.push(socket);
        arrivals.emit("socket");
      });
    });
    await tab.page.clock.pauseAt(Date.now() + PAUSE_AHEAD_MS);
    said.wait = () => once(arrivals, "said", { signal: AbortSignal.timeout(PATIENCE_MS) });
    await body({ tab, sockets, next, said });
  });
}

/** Waits until the page has said this, and takes it from what it said. */
async function until(said, expected) {
  if (said.length === 0) await said.wait();
  assert.deepEqual(said.shift(), expected);
}

function query(socket) {
  return Object.fromEntries(new URL(socket.url()).searchParams);
}

function send(socket, frame) {
  socket.send(JSON.stringify(frame));
}

function initial({ offset, value }) {
  return { ...state(offset, value), type: "initial", epoch: EPOCH, offset };
}

function increment({ offset, value }) {
  return { ...state(offset, value), type: "increment", previousValue: value - 1, offset };
}

function state(operationCount, value) {
  const now = "2025-01-15T12:00:00.000Z";
  const name = "my-counter";
  const metadata = { id: 1, name, value, createdAt: now, updatedAt: now, operationCount };
  return { value, metadata, timestamp: now };
}
