// Two people edit the same counter and the same note while the network and the server fail at random, as a seed says:
//
//     node random_cuts.mjs [SECONDS] [SEED]
//
// In the end both caches are what the server says, everything that was acknowledged happened exactly once and nothing
// happened twice, no page complained, and neither sockets nor listeners have become more.

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";

import { Demo } from "./demo.mjs";
import { PATIENCE_MS } from "./server.mjs";
import { launch } from "./tabs.mjs";

const SECONDS = 600;
const SECOND_MS = 1_000;

/** Between two faults: sometimes more than the 5 s after which the back-off starts over, sometimes less. */
const CALM_MS_MAX = 10_000;

/** The longest that one lasts. */
const FAULT_MS_MAX = 1_500;

/** Between two edits of one person. */
const EDIT_MS_MAX = 60;

/** Of one person all amounts differ, and those of two as well: an operation says whose it is. */
const AMOUNTS_OF_ONE = 1_000_000;

/** What a browser may hold more in the end, for what it has not cleared away yet. */
const LISTENERS_SLACK = 20;

const HISTORY_LIMIT = 200;

/** Runs one. Throws if anything is not as it should be; gives what happened. */
export async function runRandomCuts(seconds, seed, calmMsMax = CALM_MS_MAX) {
  const browser = await launch();
  const demo = await Demo.start(browser, "--drain-window", "200ms");
  try {
    return await run(demo, seconds, dice(seed), calmMsMax);
  } catch (err) {
    throw new Error(`seed ${seed}: ${err.message}`, { cause: err });
  } finally {
    await demo.dispose();
    await browser.close();
  }
}

async function run(demo, seconds, random, calmMsMax) {
  const [counter, note] = ["shared counter", "shared note"];
  await demo.server.mutate("note.create", { id: note, title: "Shared" });
  const people = [];
  for (const index of [0, 1]) {
    const person = await demo.person([counter]);
    await person.isCounter(counter, "connected");
    await person.page.evaluate(begin, [
      counter,
      note,
      index * AMOUNTS_OF_ONE,
      EDIT_MS_MAX,
      Math.ceil(random() * 2 ** 31),
    ]);
    person.devtools = await person.context.newCDPSession(person.page);
    await person.devtools.send("Performance.enable");
    people.push(person);
  }
  const socketsWanted = people.length * 2;
  await demo.server.untilMetric("dormouse_sockets_open", socketsWanted);
  const listenersBefore = await Promise.all(people.map(listeners));

  const faults = {};
  const end = Date.now() + seconds * SECOND_MS;
  while (Date.now() < end) {
    await delay(random() * calmMsMax);
    const name = await fail(demo, random);
    faults[name] = (faults[name] ?? 0) + 1;
  }

  for (const person of people) {
    // After many failures the back-off is up to 30 s, and a person would press the button.
    await person.page.evaluate(() => import("/src/dormouse.ts").then(({ client }) => client.reconnect()));
    await person.isCounter(counter, "connected");
  }
  const done = await Promise.all(people.map((person) => person.page.evaluate(() => window.edits.stop())));
  const { operations, versions } = await history(demo.server, counter, note);
  checkOnce(
    operations.map(({ type, value, previousValue }) => (type === "increment" ? value - previousValue : type)),
    done,
    "amounts",
  );
  checkOnce(
    versions.map(({ blob }) => blob).filter((blob) => blob !== ""),
    done,
    "texts",
  );
  await checkCaches(demo.server, people, counter, note);
  await demo.server.untilMetric("dormouse_sockets_open", socketsWanted);
  for (const [index, person] of people.entries()) {
    assert.deepEqual(person.complaints, []);
    const grown = (await listeners(person)) - listenersBefore[index];
    assert.ok(grown <= LISTENERS_SLACK, `${grown} listeners more than at the beginning`);
  }
  const count = (outcome) => done.flatMap(({ amounts, texts }) => [...amounts[outcome], ...texts[outcome]]).length;
  const outcomes = { acknowledged: count("acknowledged"), refused: count("refused"), unknown: count("unknown") };
  return {
    faults,
    ...outcomes,
    errors: done.map(({ errors }) => errors),
    operations: operations.length,
    versions: versions.length,
  };
}

/** Breaks something, and mends it. */
async function fail({ proxy, server }, random) {
  const name = ["cut", "hold", "proxy", "kill", "restart"][Math.floor(random() * 5)];
  const lastsMs = random() * FAULT_MS_MAX;
  switch (name) {
    case "cut":
      proxy.cut();
      break;
    case "hold":
      proxy.holdAnswers();
      await delay(lastsMs);
      proxy.cut();
      break;
    case "proxy":
      await proxy.kill();
      await delay(lastsMs);
      await proxy.listen();
      break;
    case "kill":
      await server.kill();
      await delay(lastsMs);
      await server.start();
      break;
    default:
      await server.terminate();
      await server.start();
  }
  return name;
}

/** In a page: edits counter and note until `window.edits.stop()` is called, which tells how it went. */
async function begin([counter, note, base, editMsMax, seed]) {
  const { client, queries, queryClient } = await import("/src/dormouse.ts");
  queries.follow("note", note);
  let state = seed;
  const random = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  const book = () => ({ acknowledged: [], refused: [], unknown: [] });
  const [amounts, texts] = [book(), book()];
  const errors = {};
  const pending = new Set();
  const noted = (written, outcomes, call) => {
    const outcome = call.then(
      () => outcomes.acknowledged.push(written),
      ({ isOutcomeUnknown, code }) => {
        outcomes[isOutcomeUnknown ? "unknown" : "refused"].push(written);
        errors[code] = (errors[code] ?? 0) + 1;
      },
    );
    pending.add(outcome);
    outcome.then(() => pending.delete(outcome));
  };
  // As `useMutation` does it: with what is shown before the answer comes.
  const mutate = (kind, id, method, input) =>
    queryClient
      .getMutationCache()
      .build(queryClient, queries.mutation(kind, id, method))
      .execute(input);
  const edit = (number) => {
    const amount = base + number;
    const text = `${base}:${number}`;
    if (random() < 0.7) noted(amount, amounts, mutate("counter", counter, "increment", { amount }));
    else if (random() < 0.5) noted(text, texts, mutate("note", note, "update", { blob: text }));
    else {
      const { version } = queryClient.getQueryData(queries.query("note", note, "get").queryKey) ?? { version: 1 };
      noted(text, texts, client.object("note", note).call("update", { blob: text, expectedVersion: version }));
    }
  };
  let number = 0;
  let timer = 0;
  const next = () => {
    number += 1;
    edit(number);
    timer = setTimeout(next, random() * editMsMax);
  };
  next();
  window.edits = {
    stop: async () => {
      clearTimeout(timer);
      while (pending.size > 0) await Promise.all(pending);
      return { amounts, texts, errors };
    },
  };
}

/** All operations of a counter and all versions of a note. */
async function history(server, name, id) {
  const operations = [];
  for (let before; ;) {
    const page = await server.mutate("counter.getHistory", { name, limit: HISTORY_LIMIT, before });
    operations.push(...page.operations);
    before = page.next;
    if (before === undefined) break;
  }
  const versions = [];
  for (let before; ;) {
    const page = await server.mutate("note.history", { id, limit: HISTORY_LIMIT, before });
    versions.push(...page.versions);
    before = page.next;
    if (before === undefined) break;
  }
  return { operations, versions };
}

/** What happened is what was acknowledged, each once, and of what is not known some. */
function checkOnce(happened, done, which) {
  const seen = new Set(happened);
  assert.equal(seen.size, happened.length, `${which}: something happened twice`);
  const all = (outcome) => done.flatMap((outcomes) => outcomes[which][outcome]);
  for (const written of all("acknowledged"))
    assert.ok(seen.has(written), `${which}: ${written} was acknowledged and is not there`);
  for (const written of all("refused")) assert.ok(!seen.has(written), `${which}: ${written} was refused and is there`);
  const known = new Set([...all("acknowledged"), ...all("unknown")]);
  for (const written of happened) assert.ok(known.has(written), `${which}: nobody wrote ${written}`);
}

/** Waits until every cache is what the server says. */
async function checkCaches(server, people, name, id) {
  const [metadata, note] = [
    await server.mutate("counter.getMetadata", { name }),
    await server.mutate("note.get", { id }),
  ];
  const expected = { value: { value: metadata.value }, metadata, note };
  const cached = ([counterName, noteId]) =>
    import("/src/dormouse.ts").then(({ queries, queryClient }) => {
      const of = (...query) => queryClient.getQueryData(queries.query(...query).queryKey);
      return {
        value: of("counter", counterName, "getValue"),
        metadata: of("counter", counterName, "getMetadata"),
        note: of("note", noteId, "get"),
      };
    });
  for (const person of people) {
    const end = Date.now() + PATIENCE_MS;
    let last;
    do last = await person.page.evaluate(cached, [name, id]);
    while (JSON.stringify(last) !== JSON.stringify(expected) && Date.now() < end);
    assert.deepEqual(last, expected);
    await person.shows(name, metadata.value);
  }
}

/** How many listeners a page has, once it has cleared away what nobody needs. */
async function listeners({ devtools }) {
  await devtools.send("HeapProfiler.collectGarbage");
  const { metrics } = await devtools.send("Performance.getMetrics");
  return metrics.find(({ name }) => name === "JSEventListeners").value;
}

/** Xorshift32: the same run for the same seed. From 0 up to 1. */
function dice(seed) {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const seconds = Number(process.argv[2] ?? SECONDS);
  const seed = Number(process.argv[3] ?? Math.ceil(Math.random() * 2 ** 31));
  console.log(`${seconds} s with seed ${seed}`);
  console.log(await runRandomCuts(seconds, seed));
}
