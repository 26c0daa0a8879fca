// A network between a page and the server that can be broken: Chromium's own `setOffline` leaves sockets open.

import { once } from "node:events";
import net from "node:net";

export class Proxy {
  /** Where it listens, such as `http://127.0.0.1:40123`. It stays the same after `kill` and `listen`. */
  url = "";
  #target;
  #listener = net.createServer();
  #pairs = new Set();
  #holdsAnswers = false;
  #refusesUpgrades = false;

  /** Starts one before the server at `target`. */
  static async start(target) {
    const proxy = new Proxy();
    proxy.#target = new URL(target);
    await proxy.listen(0);
    return proxy;
  }

  /** Takes connections, after `kill` on the same port as before. */
  async listen(port = Number(new URL(this.url).port)) {
    this.#holdsAnswers = false;
    this.#listener = net.createServer((client) => this.#join(client));
    this.#listener.listen(port, "127.0.0.1");
    await once(this.#listener, "listening");
    this.url = `http://127.0.0.1:${this.#listener.address().port}`;
  }

  /** Breaks all connections without a word. New ones are taken. */
  cut() {
    this.#holdsAnswers = false;
    for (const pair of this.#pairs) for (const end of pair) end.destroy();
  }

  /** Breaks all connections and takes no new ones. */
  async kill() {
    const closed = once(this.#listener, "close");
    this.#listener.close();
    this.cut();
    await closed;
  }

  /** From now until the next cut nothing of the server reaches a client, though the server hears the client. */
  holdAnswers() {
    this.#holdsAnswers = true;
  }

  /** Whether WebSocket handshakes break from now on. */
  refuseUpgrades(isRefused = true) {
    this.#refusesUpgrades = isRefused;
  }

  #join(client) {
    const server = net.connect(Number(this.#target.port), this.#target.hostname);
    const pair = [client, server];
    this.#pairs.add(pair);
    client.on("data", (bytes) => {
      if (this.#refusesUpgrades && /\nupgrade: websocket/i.test(bytes.toString("latin1"))) client.destroy();
      else server.write(bytes);
    });
    server.on("data", (bytes) => {
      if (!this.#holdsAnswers) client.write(bytes);
    });
    for (const [end, other] of [
      [client, server],
      [server, client],
    ]) {
      end.on("error", () => {}); // What broke is closed next.
      end.on("end", () => other.end());
      end.on("close", () => {
        other.destroy();
        this.#pairs.delete(pair);
      });
    }
  }
}
