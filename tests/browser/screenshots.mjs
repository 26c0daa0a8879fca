// node screenshots.mjs <folder>
//
// Writes pictures of the page: phone and desktop, light and dark, at rest and at the moments that matter.

import { mkdir } from "node:fs/promises";
import path from "node:path";

import { launch, withTabs } from "./tabs.mjs";
import { GUARDED } from "./token.mjs";

const SCREENS = [
  { name: "desktop", viewport: { width: 1280, height: 800 } },
  { name: "phone", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
];
const SCHEMES = ["light", "dark"];

const NOTE = {
  title: "What a dormouse does all day",
  drafts: [
    "Sleep.",
    "Sleep. Wake up when somebody calls, answer, and go back to sleep.",
    "Sleep in a nest on disk. Wake up when somebody calls, answer, tell everyone who listens, and go back to "
    + "sleep.\n\nIn autumn: hazelnuts, acorns, beechnuts.\nIn winter: nothing at all, from October to May.",
  ],
};

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error("usage: node screenshots.mjs <folder>");
  process.exit(2);
}
await mkdir(folder, { recursive: true });

const browser = await launch();
try {
  for (const screen of SCREENS) {
    for (const colorScheme of SCHEMES) {
      await photograph(screen, colorScheme);
      await photographToken(screen, colorScheme);
    }
  }
} finally {
  await browser.close();
}

async function photograph({ name, ...device }, colorScheme) {
  const options = { ...device, colorScheme, deviceScaleFactor: 1, reducedMotion: "reduce" };
  await withTabs(browser, { options }, async ({ server, openTab }) => {
    const shoot = async (tab, moment, fullPage = false) => {
      const file = path.join(folder, `${name}-${colorScheme}-${moment}.png`);
      await tab.page.screenshot({ path: file, fullPage });
      console.log(file);
    };
    const fresh = await openTab("/?counter=fresh&note=fresh");
    await fresh.isConnected();
    await fresh.at("note-create").waitFor();
    await shoot(fresh, "fresh");
    await fresh.page.close();

    await prepare(server);
    const tab = await openTab("/?counter=visitors&note=dormouse");
    await tab.isConnected();
    await tab.shows("note-version", NOTE.drafts.length);
    await tab.at("counter-history").locator("li").first().waitFor();
    await tab.at("note-history").locator("li").first().waitFor();
    await shoot(tab, "page", true);

    await tab.at("note-list").locator("summary").click();
    await tab.at("note-list-items").locator("button").first().waitFor();
    await shoot(tab, "list", true);
    await tab.at("note-list").locator("summary").click();

    await tab.fill("note-blob", `${NOTE.drafts.at(-1)}\nIn spring: it wakes up hungry.`);
    await server.mutate("note.update", { id: "dormouse", blob: "Somebody else's idea of a dormouse." });
    await tab.at("note-newer").waitFor();
    await shoot(tab, "newer", true);
    await tab.click("note-save");
    await tab.at("note-conflict").waitFor();
    await shoot(tab, "conflict", true);
    await tab.click("note-delete");
    await shoot(tab, "question");
    await tab.click("confirm-no");

    await tab.fill("counter-set-value", "-9007199254740991");
    await tab.click("counter-set");
    await tab.click("counter-decrement");
    await tab.at("error").waitFor();
    await shoot(tab, "error");
    await tab.click("error-dismiss");
    await server.kill();
    await tab.shows("connection-state", "reconnecting");
    await tab.page.waitForFunction(() => {
      const detail = document.querySelector('[data-testid="connection-detail"]').textContent;
      return /attempt [4-9]/.test(detail);
    });
    await tab.page.evaluate(() => scrollTo(0, 0));
    await shoot(tab, "reconnecting");
  });
}

async function photographToken({ name, ...device }, colorScheme) {
  const options = { ...device, colorScheme, deviceScaleFactor: 1, reducedMotion: "reduce" };
  await withTabs(browser, { options, settings: GUARDED }, async ({ openTab }) => {
    const { page } = await openTab("/?counter=visitors&note=dormouse");
    await page.getByTestId("token-form").waitFor();
    const file = path.join(folder, `${name}-${colorScheme}-token.png`);
    await page.screenshot({ path: file });
    console.log(file);
  });
}

async function prepare(server) {
  const name = "visitors";
  await server.mutate("counter.setValue", { name, value: 12_000 });
  for (const amount of [250, 40, 1, 1]) await server.mutate("counter.increment", { name, amount });
  await server.mutate("counter.decrement", { name, amount: 7 });

  const [first, ...rest] = NOTE.drafts;
  await server.mutate("note.create", { id: "dormouse", title: "Dormouse", blob: first });
  for (const blob of rest) {
    await server.mutate("note.update", { id: "dormouse", title: NOTE.title, blob });
  }
  await server.mutate("note.create", { id: "shopping", title: "Shopping", blob: "acorns" });
  await server.mutate("note.create", { id: "0193e2a0-7b5c-7d11-9a64-52c1f0a6b8aa", title: "" });
}
