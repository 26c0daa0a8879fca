// Calls that wait for their answers. One that was cut off is sent again with its key, so that it happens once.

import { DormouseError, type ErrorCode } from "./errors.js";
import { callOverHttp, type HttpCall, refusal, type Refusal } from "./http.js";
import type { Frame } from "./position.js";

/** How long a call may take, with all its tries, in milliseconds. */
const CALL_TIMEOUT_MS = 15_000;

/** Most calls of one object that wait for an answer. */
const CALLS_WAITING_MAX = 1_000;

/**
 * Longer messages go over HTTP, which takes 8 MiB; a socket takes 1 MiB. A character has at most three bytes of UTF-8,
 * so nothing below this is too large.
 */
const SOCKET_CHARS_MAX = 256 * 1024;

/** Of 32 random bits each. */
const KEY_WORDS = 4;

/** How one call is made. */
export interface CallOptions {
  /** Ends the call with `CALL_TIMEOUT` if there is no answer after so many milliseconds; 15,000 if left out. */
  readonly timeoutMs?: number;
  /** Calls with the same key, input and user happen once; a new random one if left out. 1 to 255 visible ASCII characters. */
  readonly key?: string;
  /** Ends the call with `ABORTED`. Whether it was applied may then be unknown. */
  readonly signal?: AbortSignal;
}

/** A call that was not answered. */
interface Waiting {
  readonly text: string;
  readonly http: Omit<HttpCall, "fetch" | "token" | "signal">;
  readonly signal: AbortSignal;
  wasSent: boolean;
  /** HTTP has tries of its own. */
  isOverHttp: boolean;
  /** Ends it with an error, or with a result. */
  readonly settle: (error: DormouseError | null, data?: unknown) => void;
}

/** How calls get out now: through a socket, over HTTP, or not until there is one of these. */
export type Way = ((text: string) => void) | "http" | null;

/** Which call it is. */
export interface Call {
  readonly method: string;
  readonly input: unknown;
  /** Where it goes over HTTP, and with what input: there the object must be named. */
  readonly url: URL;
  readonly httpInput: unknown;
  readonly options: CallOptions;
}

/** The calls of one object that wait for their answers, oldest first. */
export class Calls {
  readonly #waiting = new Map<number, Waiting>();
  readonly #http: Pick<HttpCall, "fetch" | "token">;
  #lastId = 0;
  #lastSent = 0;

  /** Makes an empty queue. `http` is used where there is no socket. */
  constructor(http: Pick<HttpCall, "fetch" | "token">) {
    this.#http = http;
  }

  /** How many wait. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Makes a call, now or as soon as there is a way. Resolves to its result; rejects with a {@link DormouseError}. */
  make({ method, input, url, httpInput, options }: Call, way: Way): Promise<unknown> {
    if (this.#waiting.size >= CALLS_WAITING_MAX) {
      return Promise.reject(new DormouseError("QUEUE_FULL", `${CALLS_WAITING_MAX} calls wait already`));
    }
    const { timeoutMs = CALL_TIMEOUT_MS, key = randomKey(), signal } = options;
    const id = (this.#lastId += 1);
    return new Promise((resolve, reject) => {
      const ending = new AbortController();
      const call: Waiting = {
        text: JSON.stringify({ type: "call", id, method, params: input, key }),
        http: { url, input: httpInput, key },
        signal: ending.signal,
        wasSent: false,
        isOverHttp: false,
        settle: (error, data) => {
          if (!this.#waiting.delete(id)) return;
          clearTimeout(timer);
          ending.abort();
          if (error === null) resolve(data);
          else reject(error);
        },
      };
      this.#waiting.set(id, call);
      const timer = setTimeout(() => fail(call, "CALL_TIMEOUT", `no answer after ${timeoutMs} ms`), timeoutMs);
      const abort = (): void => fail(call, "ABORTED", "ended by its signal");
      signal?.addEventListener("abort", abort, { signal: ending.signal });
      if (signal?.aborted) abort();
      else this.#send(id, call, way);
    });
  }

  /** Sends all that wait, in their order: a new way is there. */
  resume(way: Way): void {
    for (const [id, call] of this.#waiting) this.#send(id, call, way);
  }

  /**
   * The socket was lost. All calls are sent again with their keys once there is a way, except the last one if the server
   * failed: it may be what the server fails on.
   */
  cut(hasServerFailed: boolean): void {
    const last = this.#waiting.get(this.#lastSent);
    if (hasServerFailed && last !== undefined) fail(last, "CONNECTION_LOST", "the server failed on this connection");
  }

  /** Ends all with this error's code. */
  fail({ code, message }: DormouseError): void {
    for (const call of this.#waiting.values()) fail(call, code, message);
  }

  /** Hands an answer to its call. False if the frame is none. */
  answer(frame: Frame): boolean {
    const { type, id } = frame;
    const call = typeof id === "number" ? this.#waiting.get(id) : undefined;
    if (type === "result") call?.settle(null, frame["data"]);
    else if (type === "error" && id !== undefined) call?.settle(refusal(frame as unknown as Refusal));
    else return false;
    return true;
  }

  #send(id: number, call: Waiting, way: Way): void {
    if (way === null || call.isOverHttp) return;
    call.wasSent = true;
    if (way !== "http" && call.text.length <= SOCKET_CHARS_MAX) {
      way(call.text);
      this.#lastSent = id;
    } else {
      call.isOverHttp = true;
      callOverHttp({ ...this.#http, ...call.http, signal: call.signal }).then(
        (data) => call.settle(null, data),
        (err: unknown) => {
          if (err instanceof DormouseError) call.settle(err);
        },
      );
    }
  }
}

function fail({ wasSent, settle }: Waiting, code: ErrorCode, message: string): void {
  settle(new DormouseError(code, message, { isOutcomeUnknown: wasSent }));
}

/** `crypto.randomUUID` is missing on pages that came over plain HTTP from another machine. */
function randomKey(): string {
  return crypto.getRandomValues(new Uint32Array(KEY_WORDS)).join("-");
}
