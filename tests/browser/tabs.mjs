// A real Chromium, and tabs that remember what their console complained about.

import { chromium } from "playwright-core";

import { PATIENCE_MS, Server } from "./server.mjs";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

export function launch() {
  return chromium.launch({
    executablePath: CHROMIUM,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
}

/** What Chromium itself logs when a server is away or refuses. Everything else is the page's fault. */
export const NETWORK_COMPLAINT = /^(Failed to load resource|WebSocket connection to)/;

/**
 * Runs `body` with a server and a function that opens tabs; both are gone afterwards. `args` are the
 * server's, `settings` its environment, `options` those of the browser's context.
 */
export async function withTabs(browser, { args = [], settings = {}, options = {} }, body) {
  const server = await Server.startWith(settings, ...args);
  const context = await browser.newContext(options);
  context.setDefaultTimeout(PATIENCE_MS);
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
      console.error(`content security policy: ${violatedDirective} ${blockedURI}`);
    });
  });
  try {
    const open = (address, prepare) => openTab(context, server.url, address, prepare);
    await body({ server, context, openTab: open });
  } finally {
    await context.close();
    await server.dispose();
  }
}

/** Opens the page at an address such as `/?counter=a`; `prepare(page)` runs before it loads. */
async function openTab(context, url, address = "/", prepare = async () => {}) {
  const page = await context.newPage();
  await prepare(page);
  const complaints = [];
  const greetings = [];
  page.on("websocket", (socket) => {
    socket.once("framereceived", ({ payload }) => greetings.push(JSON.parse(payload).type));
  });
  page.on("pageerror", (err) => complaints.push(String(err)));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  await page.goto(new URL(address, url).href);
  return new Tab(page, complaints, greetings);
}

/** One tab, as a person sees it. */
export class Tab {
  /** `greetings` are the types of the first frame of every socket that the page opened. */
  constructor(page, complaints, greetings) {
    this.page = page;
    this.complaints = complaints;
    this.greetings = greetings;
  }

  /** The element with this `data-testid`. */
  at(testId) {
    return this.page.getByTestId(testId);
  }

  /** Waits until the element's text is exactly this. */
  async shows(testId, text) {
    await this.page.waitForFunction(
      ([id, expected]) => document.querySelector(`[data-testid="${id}"]`)?.textContent === expected,
      [testId, String(text)],
      { timeout: PATIENCE_MS },
    ).catch(async (err) => {
      throw new Error(`${testId} is "${await this.at(testId).textContent()}", not "${text}"`, { cause: err });
    });
  }

  /** Waits until the field holds exactly this. */
  async holds(testId, value) {
    await this.page.waitForFunction(
      ([id, expected]) => document.querySelector(`[data-testid="${id}"]`)?.value === expected,
      [testId, value],
      { timeout: PATIENCE_MS },
    ).catch(async (err) => {
      throw new Error(`${testId} holds "${await this.at(testId).inputValue()}", not "${value}"`, { cause: err });
    });
  }

  /** Waits until both sockets are up. */
  async isConnected() {
    await this.shows("connection-state", "connected");
    await this.shows("note-connection-state", "connected");
  }

  /** The offsets of the counter's history, as listed from top to bottom. */
  async offsets() {
    return this.at("counter-history").locator("li")
      .evaluateAll((rows) => rows.map((row) => Number(row.dataset.offset)));
  }

  /** The note's versions, as listed from top to bottom. */
  async versions() {
    return this.at("note-history").locator("li")
      .evaluateAll((rows) => rows.map((row) => Number(row.dataset.version)));
  }

  /** Clicks, as a person does: in the tab that is in front. */
  async click(testId) {
    await this.page.bringToFront();
    await this.at(testId).click();
  }

  async fill(testId, text) {
    await this.page.bringToFront();
    await this.at(testId).fill(text);
  }
}
