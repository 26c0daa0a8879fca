// A page of examples/, served by Vite and pointed at a server, and people who use it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";

import { PATIENCE_MS } from "./server.mjs";
import { NETWORK_COMPLAINT } from "./tabs.mjs";

/** An example as its developer runs it. */
export class ExamplePage {
  /** Where it is. */
  url;
  #vite;

  /** Starts `examples/<name>` for the server at `serverUrl`, with an environment of its own. */
  static async start(name, serverUrl, environment = {}) {
    const page = new ExamplePage();
    const folder = fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));
    const vite = [`${folder}/node_modules/vite/bin/vite.js`, "--port", "0", "--clearScreen", "false"];
    page.#vite = spawn(process.execPath, vite, {
      cwd: folder,
      env: { ...process.env, VITE_SERVER_URL: serverUrl, ...environment },
      stdio: ["ignore", "pipe", "inherit"],
    });
    process.once("exit", () => page.#vite.kill("SIGKILL"));
    page.url = await new Promise((resolve, reject) => {
      AbortSignal.timeout(PATIENCE_MS).addEventListener("abort", () =>
        reject(new Error("Vite did not say where it is")),
      );
      readline.createInterface(page.#vite.stdout).on("line", (line) => {
        const url = /Local:\s+(http:\S+)/.exec(stripVTControlCharacters(line))?.[1];
        if (url !== undefined) resolve(url);
      });
    });
    return page;
  }

  async stop() {
    const ended = once(this.#vite, "exit");
    this.#vite.kill();
    await ended;
  }
}

/** Somebody with a browser, and what its console complained about. */
export class Visitor {
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

  /** Waits until an element says exactly this. */
  async reads(testId, text) {
    await this.page.waitForFunction(
      ([id, expected]) => document.querySelector(`[data-testid="${id}"]`)?.textContent === expected,
      [testId, text],
      { timeout: PATIENCE_MS },
    );
  }

  /** Waits until the connection is in this state. */
  async isConnection(status) {
    await this.page.locator(`[data-testid=connection][data-status=${status}]`).waitFor({ state: "attached" });
  }
}
