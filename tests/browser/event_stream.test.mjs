// The EventSource of a real browser, which knows nothing of this server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, withTabs } from "./tabs.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

for (const end of ["kill", "terminate"]) {
  test(`an EventSource goes on by itself without gap or double after ${end}`, async () => {
    await withTabs(browser, {}, async ({ server, openTab }) => {
      const { page } = await openTab();
      await page.evaluate(() => {
        window.seen = [];
        window.reasons = [];
        window.source = new EventSource("/sse/counter/a");
        window.source.onmessage = ({ data }) => window.seen.push(JSON.parse(data));
        window.source.addEventListener("close", ({ data }) => window.reasons.push(data));
      });
      await page.waitForFunction(() => window.seen.length === 1);
      const increment = () => server.mutate("counter.increment", { name: "a" });
      await increment();
      await page.waitForFunction(() => window.seen.length === 2);

      await server[end]();
      await server.start();
      await increment();
      await increment();
      await page.waitForFunction(() => window.seen.at(-1).offset === 3);

      const seen = await page.evaluate(() => window.seen);
      assert.deepEqual(seen.map(({ type }) => type).filter((type) => type !== "resumed"), [
        "initial", "increment", "increment", "increment",
      ]);
      assert.equal(seen.filter(({ type }) => type === "resumed").length, 1);
      const reasons = await page.evaluate(() => window.reasons);
      // It may have asked again while the server was still stopping.
      if (end === "terminate") assert.equal(reasons[0], '1012 {"withinMs":5000}');
      assert.ok(reasons.every((reason) => reason.startsWith("1012 ")), String(reasons));
    });
  });
}
