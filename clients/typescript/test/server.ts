// The server under test: a process of its own with a data folder of its own; and a proxy that can break.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";

const BINARY = process.env["DORMOUSE_BIN"] ?? fileURLToPath(new URL("../../../target/debug/dormouse", import.meta.url));

/** Whatever is waited for, on a busy machine. */
export const PATIENCE_MS = 20_000;

/** Without the settings of whoever runs the tests. */
const ENVIRONMENT = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("DORMOUSE_")));

/** A running server. Its address stays the same through kills and restarts. */
export class Server {
  url = "";
  #child: ChildProcess | null = null;
  readonly #data: string;
  readonly #args: string[];

  private constructor(data: string, args: string[]) {
    this.#data = data;
    this.#args = args;
  }

  /** Starts one and waits until it is ready. */
  static async start(...args: string[]): Promise<Server> {
    const server = new Server(await mkdtemp(path.join(tmpdir(), "dormouse-client-")), args);
    await server.#spawn("127.0.0.1:0");
    return server;
  }

  /** Pulls the plug. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Asks it to stop, and waits until it has. */
  async terminate(): Promise<void> {
    await this.#end("SIGTERM");
  }

  /** Starts it again, with the same port and data. */
  async restart(): Promise<void> {
    await this.#spawn(new URL(this.url).host);
  }

  /** Ends it and removes its data. */
  async dispose(): Promise<void> {
    await this.kill();
    await rm(this.#data, { recursive: true, force: true });
  }

  /** Calls a procedure as somebody else. */
  async rpc(procedure: string, input: object): Promise<Record<string, unknown>> {
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${this.url}/rpc/${procedure}`, { method: "POST", headers, body: JSON.stringify(input) });
    const { result, error } = (await response.json()) as { result?: { data: Record<string, unknown> }; error?: { message: string } };
    if (result === undefined) throw new Error(`${procedure}: ${error?.message ?? response.status}`);
    return result.data;
  }

  /** The value of a metric without labels. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const line = text.split("\n").find((candidate) => candidate.startsWith(`${name} `));
    return Number(line?.slice(name.length));
  }

  async #spawn(listen: string): Promise<void> {
    const child = spawn(BINARY, ["serve", "--listen", listen, "--data", this.#data, ...this.#args], {
      stdio: ["ignore", "pipe", "ignore"],
      env: ENVIRONMENT,
    });
    this.#child = child;
    process.once("exit", () => child.kill("SIGKILL"));
    const lines = readline.createInterface(child.stdout);
    const [line] = (await once(lines, "line", { signal: AbortSignal.timeout(PATIENCE_MS) })) as [string];
    this.url = /http:\S+/.exec(line)?.[0] ?? "";
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }
}

/** Passes bytes on to a server, until it is told not to. */
export class Proxy {
  url = "";
  #holdsAnswers = false;
  #refusesUpgrades = false;
  readonly #pairs = new Set<readonly [net.Socket, net.Socket]>();
  readonly #target: URL;
  #listener = net.createServer();

  private constructor(target: URL) {
    this.#target = target;
  }

  /** Starts one before a server. */
  static async start(target: string): Promise<Proxy> {
    const proxy = new Proxy(new URL(target));
    await proxy.listen(0);
    return proxy;
  }

  /** Takes connections; on the same port as before after `kill`. */
  async listen(port: number = Number(new URL(this.url).port)): Promise<void> {
    this.#holdsAnswers = false;
    this.#listener = net.createServer((client) => this.#join(client));
    this.#listener.listen(port, "127.0.0.1");
    await once(this.#listener, "listening");
    this.url = `http://127.0.0.1:${(this.#listener.address() as net.AddressInfo).port}`;
  }

  /** Breaks all connections, without a word. New ones are taken. */
  cut(): void {
    for (const pair of this.#pairs) for (const end of pair) end.destroy();
    this.#holdsAnswers = false;
  }

  /** Breaks all connections and takes no new ones. */
  async kill(): Promise<void> {
    const closed = once(this.#listener, "close");
    this.#listener.close();
    this.cut();
    await closed;
  }

  /** From now on nothing of the server reaches a client, though the server hears the client. */
  holdAnswers(): void {
    this.#holdsAnswers = true;
  }

  /** From now on WebSocket handshakes break. */
  refuseUpgrades(): void {
    this.#refusesUpgrades = true;
  }

  /** How many connections there are. */
  get connections(): number {
    return this.#pairs.size;
  }

  #join(client: net.Socket): void {
    const server = net.connect(Number(this.#target.port), this.#target.hostname);
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    client.on("data", (bytes) => {
      if (this.#refusesUpgrades && /\nupgrade: websocket/i.test(bytes.toString("latin1"))) client.destroy();
      else server.write(bytes);
    });
    server.on("data", (bytes) => {
      if (!this.#holdsAnswers) client.write(bytes);
    });
    for (const [end, other] of [[client, server], [server, client]] as const) {
      end.on("error", () => {});
      end.on("end", () => other.end());
      end.on("close", () => {
        other.destroy();
        this.#pairs.delete(pair);
      });
    }
  }
}

/** Waits until a condition holds. */
export async function until(condition: () => boolean | Promise<boolean>, what: string = String(condition)): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`it never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
