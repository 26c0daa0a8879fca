// node tabs.mjs <url> <clicks> <chromium>
//
// Opens the page in two tabs, clicks in one, and waits for the change in the other. Prints one line of
// JSON.
//
// The page has elements with `data-testid`: `counter-value`, whose text is the value,
// `counter-increment`, a button that adds 1, and `connection-state`, whose text is `connected` once the
// socket is attached.

import { chromium } from "playwright-core";

/** Milliseconds that one change, or the first connection, may take. */
const CHANGE_MS_MAX = 10_000;

/** Clicks before anything is measured. */
const WARM_UP_CLICKS = 5;

const [url, clicks, executablePath] = process.argv.slice(2);

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
try {
  const context = await browser.newContext();
  const [clicked, watched] = [await open(context), await open(context)];
  const changed = [];
  const painted = [];
  for (let click = 0; click < WARM_UP_CLICKS + Number(clicks); click += 1) {
    const sample = await measure(clicked, watched);
    if (click >= WARM_UP_CLICKS) {
      changed.push(sample.changed);
      painted.push(sample.painted);
    }
  }
  console.log(
    JSON.stringify({
      clicks: changed.length,
      changedP50Ms: quantile(changed, 0.5),
      changedP99Ms: quantile(changed, 0.99),
      paintedP50Ms: quantile(painted, 0.5),
      paintedP99Ms: quantile(painted, 0.99),
    }),
  );
} catch (err) {
  // One line, which ends up in a cell of a table.
  console.error(err.message.split("\n")[0]);
  process.exitCode = 1;
} finally {
  await browser.close();
}

async function open(context) {
  const tab = await context.newPage();
  await tab.goto(url);
  await tab.getByTestId("connection-state").getByText("connected", { exact: true }).waitFor({
    timeout: CHANGE_MS_MAX,
  });
  return tab;
}

/**
 * Clicks once. Times are taken inside the two pages, on the clock that tabs of one browser share, so
 * the tool's own round trips to the browser are not in them.
 */
async function measure(clicked, watched) {
  // `evaluate` would wait for the change: the promise is parked on the window until it is asked for.
  await watched.evaluate((msMax) => {
    const value = document.querySelector('[data-testid="counter-value"]');
    const before = value.textContent;
    window.change = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("no change in the other tab")), msMax);
      const observer = new MutationObserver(() => {
        if (value.textContent === before) return;
        const changed = performance.timeOrigin + performance.now();
        observer.disconnect();
        clearTimeout(timer);
        requestAnimationFrame(() => {
          resolve({ changed, painted: performance.timeOrigin + performance.now() });
        });
      });
      observer.observe(value, { childList: true, characterData: true, subtree: true });
    });
  }, CHANGE_MS_MAX);
  const clickedAt = await clicked.evaluate(() => {
    const button = document.querySelector('[data-testid="counter-increment"]');
    const now = performance.timeOrigin + performance.now();
    button.click();
    return now;
  });
  const { changed, painted } = await watched.evaluate(() => window.change);
  return { changed: changed - clickedAt, painted: painted - clickedAt };
}

function quantile(samples, share) {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
