// Keeps an object watched while somebody looks, and a moment longer: what is in no log is not told twice.

import { type ConnectionState, IDLE } from "../connection.js";

/** How long an object is watched without anybody who looks, in milliseconds: who comes back has missed nothing. */
const LINGER_MS = 1_000;

/** The part of an object's handle that is needed, whatever its kind is. */
export interface Watched {
  readonly state: ConnectionState;
  on(type: never, listener: (event: never) => void): () => void;
  onState(listener: () => void): () => void;
  refresh(): void;
}

/** What a watch tells, and asks. */
export interface WatchSurface<Frame> {
  /** The types of the frames that are wanted. */
  readonly types: readonly string[];
  readonly hear: (frame: Frame) => void;
  /** The state of the connection changed. */
  readonly changed: () => void;
  /** It has ended; the connection may go on for others. */
  readonly ended: () => void;
  /** Whether it must go on although nobody looks. */
  readonly isBusy: () => boolean;
}

/** The one watch that all who look at an object share. */
export class Watch<Frame> {
  readonly #object: Watched;
  readonly #surface: WatchSurface<Frame>;
  #stops: (() => void)[] = [];
  #lookers = 0;
  #lingering: ReturnType<typeof setTimeout> | undefined;

  /** Makes a watch that has not begun. */
  constructor(object: Watched, surface: WatchSurface<Frame>) {
    this.#object = object;
    this.#surface = surface;
  }

  /** Whether it goes on. */
  get isOpen(): boolean {
    return this.#stops.length > 0;
  }

  /** The state of the connection, as far as it is ours. */
  get state(): ConnectionState {
    return this.isOpen ? this.#object.state : IDLE;
  }

  /** Begins, and goes on until the function that it gives is called. */
  open(): () => void {
    let isOpen = true;
    this.#lookers += 1;
    this.#start();
    return () => {
      if (isOpen) this.#lookers -= 1;
      isOpen = false;
      this.linger();
    };
  }

  /** Begins, if it has not, and goes on as long as it is busy. */
  hold(): void {
    this.#start();
    this.linger();
  }

  /** Ends in a moment, if then nobody looks and nothing is to be done. */
  linger(): void {
    clearTimeout(this.#lingering);
    if (this.#lookers > 0 || this.#surface.isBusy()) return;
    this.#lingering = setTimeout(() => this.end(), LINGER_MS);
  }

  /** Ends now. */
  end(): void {
    clearTimeout(this.#lingering);
    if (!this.isOpen) return;
    for (const stop of this.#stops.splice(0)) stop();
    this.#surface.ended();
  }

  #start(): void {
    clearTimeout(this.#lingering);
    if (this.isOpen) return;
    const { types, hear, changed } = this.#surface;
    // Somebody else watches the object already: what was said at the beginning, and is in no log, has to be said again.
    const isLate = this.#object.state.status !== "idle";
    this.#stops = types.map((type) => this.#object.on(type as never, hear as (event: never) => void));
    this.#stops.push(this.#object.onState(changed));
    if (isLate) this.#object.refresh();
    changed();
  }
}
