// The client: one per server, with one shared connection per object.

import { type Call, type CallOptions, Calls } from "./calls.js";
import { Connection, type ConnectionState, IDLE } from "./connection.js";
import { DormouseError } from "./errors.js";
import { ID_FIELDS, type Kinds } from "./generated.js";
import type { HttpCall } from "./http.js";
import type { Arguments, InputOf, KindMap, KindName, ListingName, OutputOf } from "./kinds.js";
import { Listeners } from "./listeners.js";
import type { Transport } from "./machine.js";
import { ObjectHandle } from "./object.js";
import { watchPage } from "./page.js";
import type { WebSocketConstructor } from "./transport.js";

/** How to reach a server. */
export interface ClientOptions {
  /** Where the server is, such as `https://dormouse.example.org`; the page's own origin if left out. */
  readonly url?: string | URL;
  /** Gives the token for the next connection or call. It is asked every time: keep the token, and renew it before it expires. */
  readonly getToken?: () => string | null | undefined | Promise<string | null | undefined>;
  /** `auto`, the default: WebSockets, and server-sent events where those do not pass. */
  readonly transport?: Transport | "auto";
  /** The input field that names an object, by kind: `ID_FIELDS` of the file with your own kinds. The built-in kinds' if left out. */
  readonly idFields?: Readonly<Record<string, string>>;
  /** Used instead of the global `WebSocket`, for example npm's `ws` in Node 20. */
  readonly webSocket?: WebSocketConstructor;
  /** Used instead of the global `fetch`. */
  readonly fetch?: typeof fetch;
}

/** How one object is watched. */
export interface ObjectOptions {
  /** Replaces the growing back-off by this fixed delay, in milliseconds. Of several who share a connection the shortest holds. */
  readonly reconnectIntervalMs?: number | undefined;
}

/** All connections of a client in one: the one that needs attention most. */
export type ClientState = ConnectionState;

/** From what needs least attention to what needs most. */
const ATTENTION = ["idle", "connected", "connecting", "reconnecting", "closed"] as const;

/** A server, as seen from here. `K` are its kinds: those of the generated `Kinds`. */
export class Client<K extends KindMap<K> = Kinds> {
  readonly #options: ClientOptions;
  readonly #connections = new Map<string, Connection>();
  readonly #stateListeners = new Listeners();
  readonly #http: Pick<HttpCall, "fetch" | "token">;
  readonly #listings: Calls;
  #state: ClientState = IDLE;
  #stopWatchingPage: (() => void) | null = null;

  /** Makes a client. Nothing is opened before somebody watches an object. */
  constructor(options: ClientOptions = {}) {
    this.#options = options;
    this.#http = {
      // Called as a method of something else, the browser's own `fetch` refuses.
      fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
      token: async () => (await options.getToken?.()) ?? null,
    };
    this.#listings = new Calls(this.#http);
  }

  /** The state of the connection that needs attention most: for a banner. */
  get state(): ClientState {
    return this.#state;
  }

  /** Calls `listener` after every change of `state`, until the function that it gives is called. */
  onState(listener: () => void): () => void {
    return this.#stateListeners.add(listener);
  }

  /** An object. Nothing is opened by this: see {@link ObjectHandle}. */
  object<N extends KindName<K>>(kind: N, id: string, options: ObjectOptions = {}): ObjectHandle<K, N> {
    const key = `${kind}/${encodeURIComponent(id)}`;
    const idField = (this.#options.idFields ?? (ID_FIELDS as Readonly<Record<string, string>>))[kind] ?? "id";
    const describe = (method: string, input: unknown, callOptions: CallOptions): Call => ({
      method,
      input,
      url: this.#url(`rpc/${kind}.${method}`),
      httpInput: { ...(input as object | undefined), [idField]: id },
      options: callOptions,
    });
    const pool = { get: () => this.#connections.get(key), open: () => this.#connection(key), describe };
    return new ObjectHandle(kind, id, options, pool);
  }

  /**
   * Asks something of all objects of a kind together, such as `client.list("note", "list", { limit: 20 })`. Goes over HTTP.
   * Rejects with a {@link DormouseError}.
   */
  async list<N extends KindName<K>, L extends ListingName<K, N>>(
    kind: N,
    listing: L,
    ...[input, options = {}]: Arguments<InputOf<K[N]["listings"][L]>, CallOptions>
  ): Promise<OutputOf<K[N]["listings"][L]>> {
    const url = this.#url(`rpc/${kind}.${listing}`);
    const data = await this.#listings.make({ method: listing, input, url, httpInput: input ?? {}, options }, "http");
    return data as OutputOf<K[N]["listings"][L]>;
  }

  /** Tries all connections again that wait for their next try or were closed for good. */
  reconnect(): void {
    for (const connection of this.#connections.values()) connection.retry();
  }

  /** Ends all connections and calls now. Objects that are watched afterwards are opened again. */
  close(): void {
    this.#listings.fail(new DormouseError("CLOSED", "the client was closed"));
    for (const connection of [...this.#connections.values()]) connection.close();
  }

  #connection(key: string): Connection {
    const present = this.#connections.get(key);
    if (present !== undefined) return present;
    const {
      transport = "auto",
      getToken,
      webSocket = globalThis.WebSocket as WebSocketConstructor | undefined,
    } = this.#options;
    const connection = new Connection({
      ...this.#http,
      hasTokens: getToken !== undefined,
      // Without a WebSocket here there are still event streams, and nobody makes one.
      transport: webSocket && transport !== "sse" ? "websocket" : "sse",
      mayFallBack: transport === "auto",
      webSocket: webSocket as WebSocketConstructor,
      address: (used) => this.#url(`${used === "sse" ? "sse" : "ws"}/${key}`),
      changed: () => this.#changed(),
      unused: () => this.#drop(key),
    });
    this.#connections.set(key, connection);
    this.#stopWatchingPage ??= watchPage((signal) => {
      for (const each of this.#connections.values()) each.input({ type: signal });
    });
    return connection;
  }

  #drop(key: string): void {
    this.#connections.delete(key);
    if (this.#connections.size === 0) {
      this.#stopWatchingPage?.();
      this.#stopWatchingPage = null;
    }
    this.#changed();
  }

  #changed(): void {
    let state = IDLE;
    for (const { state: other } of this.#connections.values()) {
      if (ATTENTION.indexOf(other.status) > ATTENTION.indexOf(state.status)) state = other;
    }
    if (state === this.#state) return;
    this.#state = state;
    this.#stateListeners.tell();
  }

  #url(path: string): URL {
    const base = `${this.#options.url ?? ""}`.replace(/\/*$/, "/");
    return new URL(base + path, globalThis.location?.href);
  }
}

/** Makes a client. `createClient<Kinds>({ idFields: ID_FIELDS })` with your own generated file for your own kinds. */
export function createClient<K extends KindMap<K> = Kinds>(options: ClientOptions = {}): Client<K> {
  return new Client<K>(options);
}
