// The server under test: a process of its own, on a free port, with a data folder of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import readline from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** Whatever is waited for, on a busy machine. */
export const PATIENCE_MS = 30_000;

const POLL_INTERVAL_MS = 50;

const BINARY = process.env.DORMOUSE_BIN
  ?? fileURLToPath(new URL("../../target/debug/dormouse", import.meta.url));

/** Without the settings of whoever runs the tests. */
const ENVIRONMENT = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith("DORMOUSE_")),
);

/** Processes that still run. None outlives the tests, however those end. */
const running = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export class Server {
  #process;
  #data;
  #args;
  #environment = ENVIRONMENT;
  #log = [];

  /** Where it listens, such as `http://127.0.0.1:40123`. It stays the same across restarts. */
  url;

  /** Starts one and waits until it is ready. `args` are added to those of `serve`. */
  static async start(...args) {
    return Server.startWith({}, ...args);
  }

  /** The same with settings in the environment, such as `DORMOUSE_AUTH_SECRET`. */
  static async startWith(settings, ...args) {
    const server = new Server();
    server.#environment = { ...ENVIRONMENT, ...settings };
    server.#data = await mkdtemp(path.join(tmpdir(), "dormouse-browser-"));
    server.#args = args;
    await server.#spawn("127.0.0.1:0");
    return server;
  }

  /** Pulls the plug. */
  async kill() {
    await this.#end("SIGKILL");
  }

  /** Asks it to stop, and waits until it has. */
  async terminate() {
    await this.#end("SIGTERM");
  }

  /** Starts it again, after `kill` or `terminate`, with the same port and data. */
  async start() {
    await this.#spawn(new URL(this.url).host);
  }

  /** Ends it and removes its data. */
  async dispose() {
    await this.kill();
    await rm(this.#data, { recursive: true, force: true });
  }

  /** Calls a procedure over HTTP as somebody who is not a browser, and gives its result. */
  async mutate(procedure, input, token) {
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const response = await fetch(`${this.url}/rpc/${procedure}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...authorization },
      body: JSON.stringify(input),
    });
    const { result, error } = await response.json();
    if (error !== undefined) throw new Error(`${procedure}: ${error.message}`);
    return result.data;
  }

  /** The value of a metric without labels. */
  async metric(name) {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const line = text.split("\n").find((candidate) => candidate.startsWith(`${name} `));
    if (line === undefined) throw new Error(`/metrics has no ${name}`);
    return Number(line.slice(name.length));
  }

  /** Waits until the metric has this value. */
  async untilMetric(name, value) {
    const deadline = Date.now() + PATIENCE_MS;
    while ((await this.metric(name)) !== value) {
      if (Date.now() > deadline) throw new Error(`${name} never was ${value}\n${this.#log.join("\n")}`);
      await delay(POLL_INTERVAL_MS);
    }
  }

  async #spawn(listen) {
    const args = ["serve", "--listen", listen, "--data", this.#data, ...this.#args];
    this.#process = spawn(BINARY, args, { stdio: ["ignore", "pipe", "pipe"], env: this.#environment });
    const child = this.#process;
    running.add(child);
    child.once("exit", () => running.delete(child));
    readline.createInterface(this.#process.stderr).on("line", (line) => this.#log.push(line));
    const lines = readline.createInterface(this.#process.stdout);
    const ready = once(lines, "line", { signal: AbortSignal.timeout(PATIENCE_MS) });
    const failed = once(this.#process, "exit").then(([code]) => {
      throw new Error(`the server ended with ${code}\n${this.#log.join("\n")}`);
    });
    failed.catch(() => {}); // Once it is ready, its end is what a test asked for.
    const [line] = await Promise.race([ready, failed]);
    this.url = /http:\S+/.exec(line)[0];
  }

  async #end(signal) {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, "exit");
    this.#process.kill(signal);
    await exited;
  }
}
