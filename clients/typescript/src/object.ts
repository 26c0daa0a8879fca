// One object, as its user sees it.

import type { Call, CallOptions } from "./calls.js";
import type { ObjectOptions } from "./client.js";
import { type Connection, type ConnectionState, type FrameListener, IDLE } from "./connection.js";
import { DormouseError } from "./errors.js";
import type {
  Arguments,
  EventOf,
  EventOfType,
  EventType,
  InputOf,
  KindMap,
  KindName,
  MethodName,
  OutputOf,
} from "./kinds.js";

/** Most events that wait for a `for await` loop. */
const ITERATION_EVENTS_MAX = 10_000;

/** The connection behind a handle, which exists only while somebody needs it. */
interface Pool {
  readonly get: () => Connection | undefined;
  readonly open: () => Connection;
  readonly describe: (method: string, input: unknown, options: CallOptions) => Call;
}

/**
 * One object of a server. Handles are cheap: all handles of one object share one connection, which is open while somebody
 * watches (`on`, `for await`, `connect`) and one second longer.
 *
 * Who watches gets the whole state first (`initial`), then every event once and in order, through all reconnects. Another
 * `initial` may come at any time; it replaces all that was known.
 */
export class ObjectHandle<K extends KindMap<K>, N extends KindName<K>> implements AsyncIterable<EventOf<K, N>> {
  /** The object's kind. */
  declare readonly kind: N;
  /** The object's id. */
  declare readonly id: string;
  readonly #options: ObjectOptions;
  readonly #pool: Pool;

  /** Use {@link Client.object}. */
  constructor(kind: N, id: string, options: ObjectOptions, pool: Pool) {
    this.kind = kind;
    this.id = id;
    this.#options = options;
    this.#pool = pool;
  }

  /** The state of the connection. The same object until something changes. */
  get state(): ConnectionState {
    return this.#pool.get()?.state ?? IDLE;
  }

  /** Calls `listener` after every change of `state`, until the function that it gives is called. Opens nothing. */
  onState(listener: () => void): () => void {
    return this.#pool.open().onState(listener);
  }

  /** Opens the connection, if nobody has, and keeps it open until the function that it gives is called. */
  connect(): () => void {
    return this.on("*", () => {});
  }

  /**
   * Calls `listener` with each event of a type, or with every event for `*`, until the function that it gives is called.
   * Opens the connection if nobody has. If somebody has, the whole state and the events since come first, with `isPast`: they
   * say how things are, and are no news.
   */
  on<T extends EventType<K, N> | "*">(
    type: T,
    listener: (event: EventOfType<K, N, T>, isPast: boolean) => void,
  ): () => void {
    return this.#pool.open().watch(type, listener as unknown as FrameListener, this.#options.reconnectIntervalMs);
  }

  /**
   * Calls a method. Goes through the socket while the object is watched, over HTTP otherwise. A call that is cut off is
   * repeated with the same idempotency key, so it happens once. Through a socket the result comes after the event that the
   * call caused.
   *
   * Rejects with a {@link DormouseError}; if its `isOutcomeUnknown` is true, the call may have been applied.
   */
  async call<M extends MethodName<K, N>>(
    method: M,
    ...[input, options = {}]: Arguments<InputOf<K[N]["methods"][M]>, CallOptions>
  ): Promise<OutputOf<K[N]["methods"][M]>> {
    const result = await this.#pool.open().call(this.#pool.describe(method, input ?? {}, options));
    return result as OutputOf<K[N]["methods"][M]>;
  }

  /** Sends a message of the kind's own, such as a channel's `typing`, if there is a socket: nothing is kept for later. */
  send(message: object): void {
    this.#pool.get()?.say(message);
  }

  /** Opens the connection anew, if it is open, and resumes: for those who need what is in no log. */
  refresh(): void {
    this.#pool.get()?.input({ type: "refresh" });
  }

  /** Tries now, whatever the next try waits for; also after `closed`. */
  reconnect(): void {
    this.#pool.get()?.retry();
  }

  /**
   * Every event, as with `on("*", …)`. Ends by throwing a {@link DormouseError}: the connection's error when it is closed,
   * `OVERRUN` when the loop is 10,000 events behind.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<EventOf<K, N>, void, undefined> {
    const waiting: EventOf<K, N>[] = [];
    let wake: (() => void) | null = null;
    const connection = this.#pool.open();
    const stops = [
      this.on("*", (event) => {
        waiting.push(event);
        wake?.();
      }),
      connection.onState(() => wake?.()),
    ];
    try {
      for (;;) {
        const event = waiting.shift();
        if (event !== undefined) yield event;
        else if (connection.state.status === "closed" || connection.state.status === "idle") {
          throw connection.state.error ?? new DormouseError("CLOSED", "the client was closed");
        } else await new Promise<void>((resolve) => (wake = resolve));
        if (waiting.length > ITERATION_EVENTS_MAX) {
          throw new DormouseError("OVERRUN", `the loop is more than ${ITERATION_EVENTS_MAX} events behind`);
        }
      }
    } finally {
      for (const stop of stops) stop();
    }
  }
}
