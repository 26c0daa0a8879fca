// The demo of examples/two-tabs behind a network that can be broken, and people who use it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";

import { Proxy } from "./proxy.mjs";
import { PATIENCE_MS, Server } from "./server.mjs";
import { NETWORK_COMPLAINT } from "./tabs.mjs";

const FOLDER = fileURLToPath(new URL("../../examples/two-tabs", import.meta.url));

/** Server, broken network and page. */
export class Demo {
  server;
  proxy;
  /** Where the page is. */
  url;
  #browser;
  #vite;
  #people = [];

  /** Starts all three. `args` are the server's. */
  static async start(browser, ...args) {
    const demo = new Demo();
    demo.#browser = browser;
    demo.server = await Server.start(...args);
    demo.proxy = await Proxy.start(demo.server.url);
    const vite = [`${FOLDER}/node_modules/vite/bin/vite.js`, "--port", "0", "--clearScreen", "false"];
    demo.#vite = spawn(process.execPath, vite, {
      cwd: FOLDER,
      env: { ...process.env, VITE_SERVER_URL: demo.proxy.url },
      stdio: ["ignore", "pipe", "inherit"],
    });
    process.once("exit", () => demo.#vite.kill("SIGKILL"));
    demo.url = await new Promise((resolve, reject) => {
      AbortSignal.timeout(PATIENCE_MS).addEventListener("abort", () =>
        reject(new Error("Vite did not say where it is")),
      );
      readline.createInterface(demo.#vite.stdout).on("line", (line) => {
        const url = /Local:\s+(http:\S+)/.exec(stripVTControlCharacters(line))?.[1];
        if (url !== undefined) resolve(url);
      });
    });
    return demo;
  }

  async dispose() {
    await this.leave();
    const ended = once(this.#vite, "exit");
    this.#vite.kill();
    await ended;
    await this.proxy.kill();
    await this.server.dispose();
  }

  /** Somebody with a browser of their own, on a board with these counters. */
  async person(counters, options = {}) {
    const context = await this.#browser.newContext(options);
    context.setDefaultTimeout(PATIENCE_MS);
    const person = new Person(context, this.url);
    this.#people.push(person);
    await person.open(`/?counters=${counters.map(encodeURIComponent).map(encodeURIComponent).join(",")}#/counters`);
    return person;
  }

  /** Closes everybody's browser. */
  async leave() {
    await Promise.all(this.#people.splice(0).map(({ context }) => context.close()));
  }
}

/** Somebody with a browser, and what its console complained about. */
export class Person {
  context;
  page;
  complaints = [];
  #url;

  constructor(context, url) {
    this.context = context;
    this.#url = url;
  }

  /** Opens an address of the page in a new tab. */
  async open(address, prepare = async () => {}) {
    this.page = await this.context.newPage();
    await prepare(this.page);
    this.page.on("pageerror", (err) => this.complaints.push(String(err)));
    this.page.on("console", (message) => {
      if (["error", "warning"].includes(message.type()) && !NETWORK_COMPLAINT.test(message.text())) {
        this.complaints.push(message.text());
      }
    });
    await this.page.goto(new URL(address, this.#url).href);
  }

  at(testId) {
    return this.page.getByTestId(testId);
  }

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

  /** Waits until an element says exactly this. */
  async reads(testId, text) {
    await this.page.waitForFunction(
      ([id, expected]) => document.querySelector(`[data-testid="${id}"]`)?.textContent === expected,
      [testId, text],
      { timeout: PATIENCE_MS },
    );
  }

  /** Waits until a field holds exactly this. */
  async holds(testId, text) {
    await this.page.waitForFunction(
      ([id, expected]) => document.querySelector(`[data-testid="${id}"]`)?.value === expected,
      [testId, text],
      { timeout: PATIENCE_MS },
    );
  }

  /** Waits until the connection is in this state. */
  async isConnection(status) {
    await this.page.locator(`[data-testid=connection][data-status=${status}]`).waitFor({ state: "attached" });
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
