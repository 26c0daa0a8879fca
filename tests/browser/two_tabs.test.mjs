// The main job: two tabs show the same, whatever happens in between.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, NETWORK_COMPLAINT, withTabs } from "./tabs.mjs";

/** Short enough that a test waits for it with ease. */
const IDLE_TIMEOUT = "300ms";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

test("a counter changed in either of two tabs shows in both", async () => {
  await withTabs(browser, {}, async ({ openTab }) => {
    const [left, right] = [await openTab(), await openTab()];
    await left.isConnected();
    await right.isConnected();

    await left.click("counter-increment");
    await right.shows("counter-value", 1);
    await right.fill("counter-amount", "41");
    await right.click("counter-increment");
    await left.shows("counter-value", 42);
    await left.click("counter-decrement");
    await right.shows("counter-value", 41);
    await right.fill("counter-set-value", "-1234567");
    await right.click("counter-set");
    await left.shows("counter-value", -1234567);
    await left.click("counter-reset");

    for (const tab of [left, right]) {
      await tab.shows("counter-value", 0);
      assert.deepEqual(await tab.offsets(), [5, 4, 3, 2, 1]);
      assert.deepEqual(tab.complaints, []);
    }
  });
});

test("a note changed in either of two tabs shows in both", async () => {
  await withTabs(browser, {}, async ({ openTab }) => {
    const [left, right] = [await openTab(), await openTab()];
    await left.isConnected();
    await right.isConnected();

    await left.fill("note-title", "Shopping");
    await left.fill("note-blob", "acorns");
    await left.click("note-create");
    await right.shows("note-version", 1);
    await right.holds("note-blob", "acorns");
    await right.fill("note-blob", "acorns\nhazelnuts");
    await right.click("note-save");

    for (const tab of [left, right]) {
      await tab.shows("note-version", 2);
      await tab.holds("note-title", "Shopping");
      await tab.holds("note-blob", "acorns\nhazelnuts");
      assert.deepEqual(await tab.versions(), [2, 1]);
      assert.deepEqual(tab.complaints, []);
    }
  });
});

test("both tabs resume after the server was killed, and nothing is lost or doubled", async () => {
  await withTabs(browser, {}, async ({ server, openTab }) => {
    const [left, right] = [await openTab(), await openTab()];
    await left.isConnected();
    await right.isConnected();
    await left.click("counter-increment");
    await left.fill("note-title", "First");
    await left.click("note-create");
    await right.shows("counter-value", 1);
    await right.shows("note-version", 1);

    await server.kill();
    await left.shows("connection-state", "reconnecting");
    await right.shows("connection-state", "reconnecting");
    await server.start();
    // Changes that no tab sees live, unless it was quick: a resume must bring them.
    await server.mutate("counter.increment", { name: "my-counter" });
    await server.mutate("note.update", { id: "my-note", title: "Second" });

    for (const tab of [left, right]) {
      await tab.shows("counter-value", 2);
      await tab.shows("note-version", 2);
      await tab.isConnected();
      assert.deepEqual(tab.greetings.slice(-2), ["resumed", "resumed"]);
    }
    await right.click("counter-increment");
    await right.fill("note-title", "Third");
    await right.click("note-save");
    for (const tab of [left, right]) {
      await tab.shows("counter-value", 3);
      await tab.shows("note-version", 3);
      await tab.holds("note-title", "Third");
      assert.deepEqual(await tab.offsets(), [3, 2, 1]);
      assert.deepEqual(await tab.versions(), [3, 2, 1]);
      assert.deepEqual(tab.complaints.filter((text) => !NETWORK_COMPLAINT.test(text)), []);
    }
  });
});

test("both tabs come back after the server was restarted in good order", async () => {
  await withTabs(browser, {}, async ({ server, openTab }) => {
    const [left, right] = [await openTab(), await openTab()];
    await left.isConnected();
    await right.isConnected();
    await left.click("counter-increment");
    await right.shows("counter-value", 1);

    await server.terminate();
    await server.start();

    await left.isConnected();
    await right.isConnected();
    await right.click("counter-increment");
    for (const tab of [left, right]) {
      await tab.shows("counter-value", 2);
      assert.deepEqual(await tab.offsets(), [2, 1]);
    }
  });
});

test("both tabs show later changes after the objects hibernated, without reconnecting", async () => {
  await withTabs(browser, { args: ["--idle-timeout", IDLE_TIMEOUT] }, async ({ server, openTab }) => {
    const [left, right] = [await openTab(), await openTab()];
    await left.isConnected();
    await right.isConnected();
    await left.click("counter-increment");
    await left.fill("note-title", "Before sleep");
    await left.click("note-create");
    await right.shows("counter-value", 1);
    await right.shows("note-version", 1);
    const states = await statesFromNowOn(right);

    await server.untilMetric("dormouse_objects_resident", 0);
    await left.click("counter-increment");
    await left.fill("note-title", "After sleep");
    await left.click("note-save");

    for (const tab of [left, right]) {
      await tab.shows("counter-value", 2);
      await tab.shows("note-version", 2);
      await tab.holds("note-title", "After sleep");
      assert.deepEqual(await tab.offsets(), [2, 1]);
      assert.deepEqual(tab.complaints, []);
    }
    assert.deepEqual(await states(), []);
  });
});

test("many counters stay apart", async () => {
  await withTabs(browser, {}, async ({ openTab }) => {
    const names = ["apples", "Apples", "with space", "a/b?c#d%", "ünï-🐭", "x".repeat(256)];
    const tabs = [];
    for (const [index, name] of names.entries()) {
      const tab = await openTab(`/?${new URLSearchParams({ counter: name })}`);
      await tab.shows("connection-state", "connected");
      await tab.fill("counter-set-value", String(index + 100));
      await tab.click("counter-set");
      tabs.push(tab);
    }

    for (const [index, tab] of tabs.entries()) {
      await tab.shows("counter-value", index + 100);
      assert.deepEqual(await tab.offsets(), [1]);
      assert.deepEqual(tab.complaints, []);
    }
  });
});

test("a counter picked by name leaves the other behind, and the address leads back to it", async () => {
  await withTabs(browser, {}, async ({ server, openTab }) => {
    await server.mutate("counter.setValue", { name: "one", value: 1 });
    await server.mutate("counter.setValue", { name: "two", value: 2 });
    const tab = await openTab("/?counter=one&note=memo");
    await tab.shows("counter-value", 1);

    await tab.fill("counter-name", "two");
    await tab.at("counter-name").press("Enter");
    await tab.shows("counter-value", 2);
    await server.mutate("counter.increment", { name: "one" });
    await server.mutate("counter.increment", { name: "two" });
    await tab.shows("counter-value", 3);

    assert.deepEqual(await tab.offsets(), [2, 1]);
    const { searchParams } = new URL(tab.page.url());
    assert.deepEqual(Object.fromEntries(searchParams), { counter: "two", note: "memo" });
    await tab.page.reload();
    await tab.shows("counter-value", 3);
  });
});

test("rapid clicks in two tabs are all counted, in one order", async () => {
  await withTabs(browser, {}, async ({ openTab }) => {
    const clicks = 100;
    const [left, right] = [await openTab(), await openTab()];
    await left.isConnected();
    await right.isConnected();

    const clickOften = (tab) => tab.at("counter-increment").evaluate((button, times) => {
      for (let click = 0; click < times; click += 1) button.click();
    }, clicks);
    await Promise.all([clickOften(left), clickOften(right)]);

    const offsets = Array.from({ length: 2 * clicks }, (_, index) => 2 * clicks - index);
    for (const tab of [left, right]) {
      await tab.shows("counter-value", 2 * clicks);
      assert.deepEqual(await tab.offsets(), offsets);
    }
  });
});

test("older history comes in pages", async () => {
  await withTabs(browser, {}, async ({ server, openTab }) => {
    for (let call = 0; call < 45; call += 1) await server.mutate("counter.increment", { name: "old" });
    const tab = await openTab("/?counter=old");

    const seen = [];
    for (const oldest of [26, 6, 1]) {
      await tab.at("counter-history").locator(`[data-offset="${oldest}"]`).waitFor();
      seen.push((await tab.offsets()).length);
      if (oldest > 1) await tab.click("counter-older");
    }

    assert.deepEqual(seen, [20, 40, 45]);
    await tab.at("counter-older").waitFor({ state: "hidden" });
  });
});

/** Collects the connection states of a tab; the function that it gives reads them. */
async function statesFromNowOn({ page }) {
  await page.evaluate(() => {
    window.states = [];
    const state = document.querySelector('[data-testid="connection-state"]');
    new MutationObserver(() => window.states.push(state.textContent)).observe(state, { childList: true });
  });
  return () => page.evaluate(() => window.states);
}
