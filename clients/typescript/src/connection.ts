// One object's connection, shared by all who watch the object: it runs the machine, hands each event on once, and
// carries the calls.

import { type Call, Calls, type Way } from "./calls.js";
import { DormouseError } from "./errors.js";
import { type Refusal, refusal } from "./http.js";
import { Listeners, safely } from "./listeners.js";
import {
  deadline,
  idle,
  type Input,
  isOutdated,
  isOver,
  type Machine,
  step,
  type Surroundings,
  type Transport,
} from "./machine.js";
import { type Frame, isWhole, Position } from "./position.js";
import { claims } from "./token.js";
import { askWhy, dialEventStream, dialWebSocket, type WebSocketConstructor } from "./transport.js";

/** How long a connection stays without anybody who watches, in milliseconds: who comes back finds it open. */
const LINGER_MS = 1_000;

/**
 * Most characters of events that are kept for who begins to watch later. Past it the connection is opened anew for them,
 * and everybody gets the whole state again.
 */
const REPLAY_CHARS_MAX = 1024 * 1024;

/** The close code after which the last message is not repeated. */
const SERVER_FAILED = 1011;

/** What the types of the frames begin with that say who is here. The server is asked for them if somebody watches for one. */
const PRESENCE = "presence_";

/** What a connection can be. */
export type ConnectionStatus = "idle" | "connecting" | "connected" | "reconnecting" | "closed";

/** A connection at one moment. A new object comes with every change. */
export interface ConnectionState {
  /**
   * `idle`: nobody watches. `connecting`: the first try. `connected`: events arrive. `reconnecting`: it failed and is
   * tried again. `closed`: it failed, and trying again would be useless.
   */
  readonly status: ConnectionStatus;
  /** Failures since the last success; 0 while connected. */
  readonly attempt: number;
  /** The latest failure, until the connection is up again. */
  readonly error: DormouseError | null;
  /** When the latest event came. */
  readonly lastUpdate: Date | null;
  /** When the next try begins; `null` while one is under way, or if there will be none by itself. */
  readonly retryAt: Date | null;
  /** How events arrive. */
  readonly transport: Transport;
}

/** What connections need from their client. */
export interface Surface {
  readonly fetch: typeof fetch;
  readonly webSocket: WebSocketConstructor;
  readonly token: () => Promise<string | null>;
  readonly hasTokens: boolean;
  /** What is tried first. */
  readonly transport: Transport;
  /** Whether event streams may be used where WebSockets do not pass. */
  readonly mayFallBack: boolean;
  /** The address of this object's socket or stream. */
  readonly address: (transport: Transport) => URL;
  /** Gets every change of state. */
  readonly changed: () => void;
  /** Nobody needs the connection any more. */
  readonly unused: () => void;
}

/** Gets events; those with `isPast` happened before it began to watch. */
export type FrameListener = (event: Frame, isPast: boolean) => void;

/** Someone who gets events. */
interface Watcher {
  readonly type: string;
  readonly listener: FrameListener;
  /** Replaces the back-off by this delay. */
  readonly reconnectIntervalMs: number;
  /** Whether it has what came before it. */
  isCurrent: boolean;
}

/** The state of a connection that nobody has opened. */
export const IDLE: ConnectionState = {
  status: "idle",
  attempt: 0,
  error: null,
  lastUpdate: null,
  retryAt: null,
  transport: "websocket",
};

/** One object's connection. It is open while somebody watches, and a moment longer. */
export class Connection {
  #state = IDLE;
  #machine: Machine;
  readonly #surface: Surface;
  readonly #around: Surroundings;
  readonly #position = new Position();
  readonly #calls: Calls;
  readonly #watchers = new Set<Watcher>();
  readonly #stateListeners = new Listeners();

  /** The whole state and all events since, for late watchers; `null` if that became too much. */
  #replay: Frame[] | null = [];
  #replayChars = 0;

  /** Ends the present transport, and whatever it may still say. */
  #transport = new AbortController();
  /** When the token that the server knows expires. */
  #expiresAt = Infinity;
  #send: ((text: string) => void) | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lingering: ReturnType<typeof setTimeout> | undefined;

  /** Makes an idle connection. */
  constructor(surface: Surface) {
    this.#surface = surface;
    this.#around = {
      now: Date.now,
      random: Math.random,
      // The shortest that a watcher asks for.
      fixedDelayMs: () => Math.min(...Array.from(this.#watchers, ({ reconnectIntervalMs }) => reconnectIntervalMs)),
      ...surface,
      expiresAt: () => this.#expiresAt,
    };
    this.#machine = idle(surface.transport);
    this.#calls = new Calls(surface);
  }

  /** The state now. */
  get state(): ConnectionState {
    return this.#state;
  }

  /** Calls `listener` after every change of state, until the function that it gives is called. */
  onState(listener: () => void): () => void {
    const stop = this.#stateListeners.add(listener);
    return () => {
      stop();
      this.#leave();
    };
  }

  /** Opens the connection and hands events on, the whole state first, until the function that it gives is called. */
  watch(type: string, listener: FrameListener, reconnectIntervalMs: number = Infinity): () => void {
    const watcher: Watcher = { type, listener, reconnectIntervalMs, isCurrent: false };
    this.#watchers.add(watcher);
    clearTimeout(this.#lingering);
    if (this.#machine.phase.name === "idle") this.input({ type: "start" });
    // Later, and together: who watches two types gets their events in order.
    queueMicrotask(() => this.#catchUp());
    return () => {
      if (this.#watchers.delete(watcher)) this.#leave();
    };
  }

  /** Sends a message through the socket, if there is one. */
  say(message: object): void {
    this.#send?.(JSON.stringify(message));
  }

  /** Calls a method: through the socket if there is one or will be, over HTTP otherwise. */
  async call(call: Call): Promise<unknown> {
    try {
      return await this.#calls.make(call, this.#way());
    } finally {
      this.#leave();
    }
  }

  /** Tries now, whatever the next try waits for; also after `closed`. */
  retry(): void {
    this.input({ type: this.#machine.phase.name === "closed" ? "start" : "wake" });
  }

  /** Ends the connection and all its calls now. */
  close(): void {
    this.#watchers.clear();
    this.#calls.fail(new DormouseError("CLOSED", "the client was closed"));
    clearTimeout(this.#lingering);
    this.#stop();
  }

  /** Tells the machine what happened, and does what it wants. */
  input(input: Input): void {
    const before = this.#machine;
    const [machine, effect] = step(before, input, this.#around);
    if (machine === before) return;
    this.#machine = machine;
    this.#arm();
    // A token that cannot be had now is asked for again by the next ping.
    if (effect === "ping") this.#ping().catch(() => {});
    else if (effect !== null) this.#hangUp(input.type === "ended" && input.closeCode === SERVER_FAILED);
    if (effect === "dial" || effect === "ask") void this.#dial(effect);
    if (machine.phase.name !== before.phase.name) this.#arrive(machine);
  }

  /** What a new phase means for calls and for those who look at the state. */
  #arrive({ phase, error }: Machine): void {
    if (phase.name === "connected") this.#calls.resume(this.#way());
    if (phase.name === "closed" && error !== null) this.#calls.fail(error);
    this.#show({});
  }

  /** How calls get out now. */
  #way(): Way {
    const { phase, transport } = this.#machine;
    if (isOver(this.#machine)) return "http";
    if (phase.name !== "connected") return null;
    return transport === "sse" ? "http" : this.#send;
  }

  async #dial(effect: "dial" | "ask"): Promise<void> {
    const { signal } = this.#transport;
    const surface = this.#surface;
    const { transport } = this.#machine;
    const tell = (input: Input): void => {
      if (!signal.aborted) this.input(input);
    };
    const hear = (text: string): void => {
      if (!signal.aborted) this.#hear(text);
    };
    try {
      const token = await surface.token();
      if (signal.aborted) return;
      this.#expiresAt = Number(claims(token)["exp"]) * 1_000 || Infinity;
      const url = surface.address(transport);
      this.#position.describe(url.searchParams);
      if ([...this.#watchers].some(({ type }) => type.startsWith(PRESENCE))) url.searchParams.set("presence", "1");
      const dial = { url, token, signal, tell, hear };
      if (effect === "ask") await askWhy(dial, surface.fetch);
      else if (transport === "sse") await dialEventStream(dial, surface.fetch);
      else this.#send = dialWebSocket(dial, surface.webSocket);
    } catch (cause) {
      tell({ type: "unreachable", cause });
    }
  }

  /** Asks whether the server lives, and shows it another token if the one that it knows ends soon. */
  async #ping(): Promise<void> {
    this.say({ type: "ping" });
    if (isOutdated(this.#around)) this.say({ type: "auth", token: await this.#surface.token() });
  }

  #hangUp(hasServerFailed: boolean): void {
    this.#transport.abort();
    this.#transport = new AbortController();
    this.#send = null;
    this.#calls.cut(hasServerFailed);
  }

  #hear(text: string): void {
    const frame = parse(text);
    if (frame === null || this.#calls.answer(frame)) return;
    const { type } = frame;
    if (type === "error") this.#show({ error: refusal(frame as unknown as Refusal, frame) });
    else if (type === "authorized") this.#expiresAt = Date.parse(frame["expiresAt"] as string);
    else {
      const verdict = this.#position.judge(frame);
      if (verdict === "gap") this.input({ type: "gap" });
      if (verdict === "take") this.#deliver(frame, text.length);
    }
  }

  #deliver(frame: Frame, chars: number): void {
    if (isWhole(frame.type)) {
      this.#replay = [frame];
      this.#replayChars = 0;
    } else if (this.#replay !== null && frame.offset !== undefined) {
      this.#replay.push(frame);
      this.#replayChars += chars;
      if (this.#replayChars > REPLAY_CHARS_MAX) this.#replay = null;
    }
    for (const watcher of this.#watchers) if (watcher.isCurrent) this.#hand(frame, watcher, false);
    this.#show({ lastUpdate: new Date() });
  }

  /** Gives new watchers what the others have. */
  #catchUp(): void {
    const late = [...this.#watchers].filter(({ isCurrent }) => !isCurrent);
    for (const watcher of late) watcher.isCurrent = true;
    if (late.length === 0) return;
    const replay = this.#replay;
    if (replay === null) {
      this.#forget();
      this.input({ type: "refresh" });
      return;
    }
    for (const frame of [...replay]) for (const watcher of late) this.#hand(frame, watcher, true);
  }

  #hand(frame: Frame, watcher: Watcher, isPast: boolean): void {
    const { type, listener } = watcher;
    // Who is here is no event of the object: only who asks for it hears of it.
    const isWanted = type === frame.type || (type === "*" && !frame.type.startsWith(PRESENCE));
    if (isWanted && this.#watchers.has(watcher)) safely(() => listener(frame, isPast));
  }

  /** Shows the machine's state, and what else changed. */
  #show(change: Partial<ConnectionState>): void {
    const { phase, attempt, transport, error } = this.#machine;
    this.#state = {
      status: status(this.#machine),
      attempt: phase.name === "connected" ? 0 : attempt,
      error,
      lastUpdate: this.#state.lastUpdate,
      retryAt: phase.name === "reconnecting" && phase.until < Infinity ? new Date(phase.until) : null,
      transport,
      ...change,
    };
    this.#stateListeners.tell();
    this.#surface.changed();
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const at = deadline(this.#machine);
    if (at === Infinity) return;
    this.#timer = setTimeout(() => {
      this.input({ type: "tick" });
      // A timer may fire a little early.
      if (deadline(this.#machine) === at) this.#arm();
    }, at - Date.now());
  }

  /** Ends the connection if nobody needs it, after a moment in which somebody may come back. */
  #leave(): void {
    clearTimeout(this.#lingering);
    if (isOver(this.#machine)) this.#stop();
    else this.#lingering = setTimeout(() => this.#stop(), LINGER_MS);
  }

  #stop(): void {
    if (this.#watchers.size > 0 || this.#calls.size > 0) return;
    this.input({ type: "stop" });
    this.#forget();
    if (this.#stateListeners.size === 0) this.#surface.unused();
  }

  #forget(): void {
    this.#position.forget();
    this.#replay = [];
    this.#replayChars = 0;
  }
}

function status({ phase: { name }, attempt }: Machine): ConnectionStatus {
  if (name === "dialling" || name === "asking") return attempt === 0 ? "connecting" : "reconnecting";
  return name;
}

function parse(text: string): Frame | null {
  try {
    const frame = JSON.parse(text) as Partial<Frame> | null;
    return typeof frame?.type === "string" ? (frame as Frame) : null;
  } catch {
    return null;
  }
}
