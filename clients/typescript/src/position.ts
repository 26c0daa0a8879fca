// Where a client is in an object's event log.

/** A frame of the server: a JSON object with a type. */
export interface Frame {
  readonly type: string;
  readonly offset?: number;
  readonly epoch?: string;
  readonly session?: string;
  readonly [field: string]: unknown;
}

/** What to do with a frame: hand it on, pass it over because it came before, or fetch what is missing. */
export type Verdict = "take" | "skip" | "gap";

/** What speaks of a place in the log without being an event. After `resumed` the missed events follow, and move the position. */
const BESIDE_THE_LOG = ["resumed", "pong", "filtered"];

/** The log that offsets belong to, and the last event of it that was handed on. */
export class Position {
  #epoch?: string | undefined;
  #offset?: number | undefined;
  #session?: string | undefined;

  /** Moves to a frame, if it is the next one. */
  judge(frame: Frame): Verdict {
    const { type, epoch, offset, session } = frame;
    this.#session = session ?? this.#session;
    if (isWhole(type)) {
      // It may come at any time, and replaces all that is known.
      this.#epoch = epoch;
      this.#offset = offset;
      return "take";
    }
    if (BESIDE_THE_LOG.includes(type)) {
      // The server has handed out events that did not arrive.
      return type === "pong" && this.#offset !== undefined && (offset ?? 0) > this.#offset ? "gap" : "skip";
    }
    if (offset === undefined) return "take";
    // An object that did not exist had no `initial`: its first event says which log this is.
    if (epoch !== undefined && epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#offset = undefined;
    }
    if (this.#offset !== undefined) {
      if (offset <= this.#offset) return "skip";
      if (offset > this.#offset + 1) return "gap";
    }
    this.#offset = offset;
    return "take";
  }

  /** Starts over: the next connection gets the whole state. */
  forget(): void {
    this.#epoch = this.#offset = undefined;
  }

  /** Says in an address where to go on. */
  describe(parameters: URLSearchParams): void {
    if (this.#epoch !== undefined && this.#offset !== undefined) {
      parameters.set("since", String(this.#offset));
      parameters.set("epoch", this.#epoch);
    }
    if (this.#session !== undefined) parameters.set("session", this.#session);
  }
}

/** Whether a frame of this type carries all that the client needs to know. */
export function isWhole(type: string): boolean {
  return type === "initial" || type === "initial_state";
}
