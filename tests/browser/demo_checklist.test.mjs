// The nine things that live counters must be able to do, with two browsers and a network that breaks.

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { after, afterEach, before, test } from "node:test";

import { Demo } from "./demo.mjs";
import { PATIENCE_MS } from "./server.mjs";
import { launch } from "./tabs.mjs";

const ROUNDS = 100;
const MINUTE_MS = 60_000;

let browser;
let demo;
let count = 0;
before(async () => {
  browser = await launch();
  demo = await Demo.start(browser, "--drain-window", "500ms");
});
afterEach(() => demo.leave());
after(async () => {
  await demo.dispose();
  await browser.close();
});

/** A counter that no other test knows. */
const fresh = () => `counter ${(count += 1)}`;
const elsewhere = (name) => demo.server.mutate("counter.increment", { name });

async function two(name) {
  const people = [await demo.person([name]), await demo.person([name])];
  for (const person of people) await person.isCounter(name, "connected");
  return people;
}

function assertSilent(...people) {
  for (const { complaints } of people) assert.deepEqual(complaints, []);
}

test("1: a single client connects", async () => {
  const name = fresh();
  const one = await demo.person([name]);

  await one.isCounter(name, "connected");
  await one.isConnection("connected");
  await one.shows(name, 0);

  assert.equal(await one.at("banner").count(), 0);
  assert.match(await one.counter(name, "last-update").textContent(), /^updated \d/);
  assertSilent(one);
});

test("2: many clients see every change at once, and are told of it", async () => {
  const name = fresh();
  const people = [...(await two(name)), await demo.person([name])];

  await people[0].counter(name, "increment").click();

  for (const person of people) await person.shows(name, 1);
  for (const person of people.slice(1, 2)) await person.page.getByText(`${name}: 0 → 1 (+1)`).waitFor();
  assert.equal(await people[0].page.getByText(`${name}: 0 → 1`).count(), 0, "whoever pressed the button knows");
  assertSilent(...people);
});

test("3: rapid operations are all counted, and no value is shown that never was", async () => {
  const name = fresh();
  const people = await two(name);

  const press = (person) =>
    person.counter(name, "increment").evaluate((button, rounds) => {
      for (let round = 0; round < rounds; round += 1) button.click();
    }, ROUNDS);
  await Promise.all(people.map(press));

  for (const person of people) await person.shows(name, 2 * ROUNDS);
  const { operations } = await demo.server.mutate("counter.getHistory", { name, limit: 2 * ROUNDS });
  assert.deepEqual(
    operations.map(({ value }) => value),
    Array.from({ length: 2 * ROUNDS }, (_, index) => 2 * ROUNDS - index),
  );
  assertSilent(...people);
});

test("4: a tab that is closed and opened again shows how things are", async () => {
  const name = fresh();
  const [one, other] = await two(name);
  await one.counter(name, "increment").click();
  await other.shows(name, 1);

  await other.page.close();
  await one.counter(name, "increment").click();
  await one.shows(name, 2);
  await other.open(`/?counters=${encodeURIComponent(encodeURIComponent(name))}`);

  await other.shows(name, 2);
  await one.counter(name, "decrement").click();
  await other.shows(name, 1);
  assertSilent(one, other);
});

for (const [how, breakIt, mendIt] of [
  ["a killed proxy", () => demo.proxy.kill(), () => demo.proxy.listen()],
  ["a killed server", () => demo.server.kill(), () => demo.server.start()],
  ["a server that restarts", () => demo.server.terminate(), () => demo.server.start()],
]) {
  test(`5: the network is interrupted by ${how}, and both come back and miss nothing`, async () => {
    const name = fresh();
    const [one, other] = await two(name);
    await one.counter(name, "increment").click();
    await other.shows(name, 1);

    await breakIt();
    await one.isCounter(name, "reconnecting");
    await one.at("banner").waitFor();
    // Both press while nobody can hear it.
    await one.counter(name, "increment").click();
    await other.counter(name, "increment").click();
    await mendIt();
    await elsewhere(name);

    for (const person of [one, other]) {
      await person.isCounter(name, "connected");
      await person.shows(name, 4);
      await person.at("banner").waitFor({ state: "detached" });
    }
    const { operations } = await demo.server.mutate("counter.getHistory", { name });
    assert.deepEqual(
      operations.map(({ value }) => value),
      [4, 3, 2, 1],
    );
    assertSilent(one, other);
  });
}

test("6: an idle page pings, and stays connected", async () => {
  const name = fresh();
  const one = await demo.person([]);
  const pings = [];
  const pongs = new EventEmitter();
  await one.page.close();
  await one.open(`/?counters=${encodeURIComponent(encodeURIComponent(name))}`, async (page) => {
    await page.clock.install();
    page.on("websocket", (socket) => {
      // Vite's own socket pings as well.
      if (!socket.url().includes("/ws/counter/")) return;
      socket.on("framesent", ({ payload }) => pings.push(payload));
      socket.on("framereceived", ({ payload }) => pongs.emit(JSON.parse(payload).type));
    });
  });
  await one.isCounter(name, "connected");
  pings.length = 0; // What the page asks at first is not counted.

  for (const half of [1, 2]) {
    const ponged = once(pongs, "pong", { signal: AbortSignal.timeout(PATIENCE_MS) });
    await one.page.clock.fastForward(MINUTE_MS / 2);
    await ponged;
    assert.equal(pings.filter((said) => said === '{"type":"ping"}').length, half);
  }

  await elsewhere(name);
  await one.shows(name, 1);
  await one.isCounter(name, "connected");
  assertSilent(one);
});

test("7: the cache follows the events, the history too", async () => {
  const name = fresh();
  const [one, other] = await two(name);
  await other.counter(name, "toggle-history").click();
  await other.page.getByText("Nothing was done yet.").waitFor();

  await one.counter(name, "increment").click();
  await one.counter(name, "decrement").click();
  await other.counter(name, "history").locator('[data-offset="2"]').waitFor();
  await one.counter(name, "toggle-history").click();
  await one.counter(name, "set-value").fill("1200");
  await one.counter(name, "set-value").press("Enter");
  await other.counter(name, "history").locator('[data-offset="3"]').waitFor();

  await other.shows(name, 1200);
  assert.deepEqual(await other.offsets(name), [3, 2, 1]);
  await one.counter(name, "reset").click();
  await other.shows(name, 0);
  assertSilent(one, other);
});

test("8: live updates are switched off and on", async () => {
  const name = fresh();
  const [one, other] = await two(name);

  await other.counter(name, "live").click();
  await other.isCounter(name, "idle");
  await demo.server.untilMetric("dormouse_sockets_open", 1);
  await one.counter(name, "increment").click();
  await one.shows(name, 1);
  assert.equal(await other.counter(name, "value").textContent(), "0");
  await other.counter(name, "live").click();

  await other.shows(name, 1);
  await other.isCounter(name, "connected");
  assertSilent(one, other);
});

test("9: many counters stay apart, and new ones are made", async () => {
  const names = [fresh(), fresh(), "a/b?c#d%", "ünï-🐭, with a comma"];
  const one = await demo.person(names.slice(0, 3));
  await one.at("new-counter").fill(names[3]);
  await one.at("new-counter").press("Enter");
  const other = await demo.person(names);
  for (const [index, name] of names.entries()) {
    await one.isCounter(name, "connected");
    for (let round = 0; round <= index; round += 1) await one.counter(name, "increment").click();
  }

  for (const [index, name] of names.entries()) {
    await one.shows(name, index + 1);
    await other.shows(name, index + 1);
  }
  await one.page.getByLabel(`Take ${names[0]} off the board`).click();
  await one.page.locator(`[data-counter="${names[0]}"]`).waitFor({ state: "detached" });
  await one.page.reload();
  await one.shows(names[3], 4);
  assert.equal(await one.page.locator("[data-counter]").count(), 3);
  assertSilent(one, other);
});

test("where WebSockets do not pass, events come as a stream, calls go over HTTP, and nothing is missed", async () => {
  const name = fresh();
  demo.proxy.refuseUpgrades(true);
  try {
    const people = [await demo.person([name]), await demo.person([name])];
    for (const person of people) await person.isCounter(name, "connected");
    assert.equal(await people[0].at("connection").getAttribute("title"), "by sse");

    await people[0].counter(name, "increment").click();
    for (const person of people) await person.shows(name, 1);
    demo.proxy.cut();
    await elsewhere(name);

    for (const person of people) await person.shows(name, 2);
    assertSilent(...people);
  } finally {
    demo.proxy.refuseUpgrades(false);
  }
});
