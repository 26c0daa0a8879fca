// The demo of examples/two-tabs behind a network that can be broken, and people who use it.

import { ExamplePage, Visitor } from "./page.mjs";
import { Proxy } from "./proxy.mjs";
import { PATIENCE_MS, Server } from "./server.mjs";

/** Server, broken network and page. */
export class Demo {
  server;
  proxy;
  #browser;
  #page;
  #people = [];

  /** Starts all three. `args` are the server's. */
  static async start(browser, ...args) {
    const demo = new Demo();
    demo.#browser = browser;
    demo.server = await Server.start(...args);
    demo.proxy = await Proxy.start(demo.server.url);
    demo.#page = await ExamplePage.start("two-tabs", demo.proxy.url);
    return demo;
  }

  /** Where the page is. */
  get url() {
    return this.#page.url;
  }

  async dispose() {
    await this.leave();
    await this.#page.stop();
    await this.proxy.kill();
    await this.server.dispose();
  }

  /** Somebody with a browser of their own, on a board with these counters. */
  async person(counters, options = {}) {
    const context = await this.#browser.newContext(options);
    context.setDefaultTimeout(PATIENCE_MS);
    const person = new Person(context, this.#page.url);
    this.#people.push(person);
    await person.open(`/?counters=${counters.map(encodeURIComponent).map(encodeURIComponent).join(",")}#/counters`);
    return person;
  }

  /** Closes everybody's browser. */
  async leave() {
    await Promise.all(this.#people.splice(0).map(({ context }) => context.close()));
  }
}

/** Somebody with a board and notes. */
export class Person extends Visitor {
  /** What is in the card of a counter. */
  counter(name, testId) {
    return this.page.locator(`[data-counter="${name}"]`).getByTestId(testId);
  }

  /** Waits until the counter shows this value. */
  async shows(name, value) {
    const text = value.toLocaleString("en-US");
    await this.page
      .waitForFunction(
        ([counter, expected]) =>
          document.querySelector(`[data-counter="${counter}"] [data-testid=value]`)?.textContent === expected,
        [name, text],
        { timeout: PATIENCE_MS },
      )
      .catch(async (err) => {
        throw new Error(`${name} is ${await this.counter(name, "value").textContent()}, not ${text}`, { cause: err });
      });
  }

  /** Waits until a field holds exactly this. */
  async holds(testId, text) {
    await this.page.waitForFunction(
      ([id, expected]) => document.querySelector(`[data-testid="${id}"]`)?.value === expected,
      [testId, text],
      { timeout: PATIENCE_MS },
    );
  }

  /** Waits until the socket of a counter is in this state. */
  async isCounter(name, status) {
    await this.page.locator(`[data-counter="${name}"][data-status=${status}]`).waitFor();
  }

  /** The versions of the note that is open, as listed from top to bottom. */
  async versions() {
    return this.at("versions")
      .locator("li")
      .evaluateAll((rows) => rows.map((row) => Number(row.dataset.version)));
  }

  /** The offsets of a counter's history, as listed from top to bottom. */
  async offsets(name) {
    return this.counter(name, "history")
      .locator("li")
      .evaluateAll((rows) => rows.map((row) => Number(row.dataset.offset)));
  }
}
