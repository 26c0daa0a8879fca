// When a connection dials, waits, pings and gives up. Pure: no socket, no timer, no clock of its own.
//
// Whoever runs it feeds it inputs and does what it answers. Between inputs it wants one thing only: an input
// `tick` at its `deadline`.

import { DormouseError } from "./errors.js";

/** Milliseconds. The back-off is a random share of `BACK_OFF_MS × 2^attempt`, up to the maximum. */
const BACK_OFF_MS = 250;
const BACK_OFF_MS_MAX = 30_000;

/** A connection that lived this long was a success: the next back-off starts small again. */
const UPTIME_MS_MIN = 5_000;

const PING_INTERVAL_MS = 30_000;

/** A ping is answered by then, or the connection is dead. */
const PONG_TIMEOUT_MS = 10_000;

/** An event stream cannot be pinged: one in which no comment came for a second interval is dead. */
const SILENCE_MS_MAX = 30_000;

/** Getting a token, the handshake, and the question after a failed one may each take this long. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/**
 * So long before its end a token is replaced, in milliseconds, and a close with 1008 is taken for that end: clocks differ. Every
 * ping looks at it, so there are two tries.
 */
const RENEWAL_MS = 75_000;

/** The longest wait that a server may ask for. */
const ASKED_WAIT_MS_MAX = 300_000;

/** So many handshakes that fail although the server is there, and event streams are used instead. */
const BLOCKED_HANDSHAKES_MAX = 2;

/** How events arrive. */
export type Transport = "websocket" | "sse";

/** Where a connection stands. Times are in milliseconds of the runner's clock. */
export type Phase =
  | { readonly name: "idle" | "closed" }
  /** Dialling, or asking why the last handshake failed. */
  | { readonly name: "dialling" | "asking"; readonly until: number }
  | { readonly name: "connected"; readonly since: number; readonly pingAt: number; readonly pongBy: number }
  /** Waiting for the next try; without end while the page is frozen. */
  | { readonly name: "reconnecting"; readonly until: number };

/** A connection, as far as decisions need to know it. */
export interface Machine {
  readonly phase: Phase;
  readonly transport: Transport;
  /** Failures since the last success. */
  readonly attempt: number;
  /** WebSocket handshakes in a row that failed although the server was there. */
  readonly blocked: number;
  /** The latest failure, until something succeeds. */
  readonly error: DormouseError | null;
}

/** What happens to a connection. */
export type Input =
  | { readonly type: "start" | "stop" | "tick" }
  /** The transport is up; something was heard through it. */
  | { readonly type: "opened" | "heard" }
  /** An event is missing, or the whole state is wanted again. */
  | { readonly type: "gap" | "refresh" }
  /** The network is back or somebody looks; the network may be gone; the page is being frozen. */
  | { readonly type: "wake" | "probe" | "suspend" }
  /** The transport ended: with a close code if it was open, without one if the handshake failed. */
  | { readonly type: "ended"; readonly closeCode?: number; readonly reason?: string }
  /** The same address answered a plain request with this. */
  | { readonly type: "refused"; readonly status: number; readonly error: DormouseError; readonly retryAfterMs: number }
  | { readonly type: "unreachable"; readonly cause: unknown };

/** What the runner has to do now. `dial`, `ask` and `drop` end the present transport first. */
export type Effect = "dial" | "ask" | "drop" | "ping" | null;

/** What decisions depend on beside the machine. */
export interface Surroundings {
  /** Milliseconds. */
  readonly now: () => number;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** Replaces the back-off by this delay, unless it is `Infinity`. */
  readonly fixedDelayMs: () => number;
  /** Whether an expired token can be replaced. */
  readonly hasTokens: boolean;
  /** When the token that the server knows expires; `Infinity` if it does not. */
  readonly expiresAt: () => number;
  /** Whether event streams may be used where WebSockets do not pass. */
  readonly mayFallBack: boolean;
}

/** The state after an input, and what to do. */
export type Step = readonly [Machine, Effect];

/** Close codes after which trying again would end the same way. */
const FINAL_CLOSES = new Set([1000, 1001, 1002, 1003, 1007, 1008, 1009, 4001, 4003, 4004, 4005]);

const NOT_ALLOWED_ANY_MORE = 1008;
const SERVER_RESTARTS = 1012;
const TOKEN_EXPIRED = 4002;

/** In the reason of 1012: the window that a restarting server gives its clients to come back in, in milliseconds. */
const WITHIN_MS = /"withinMs":\s*(\d{1,9})/;

/** The statuses below 500 that a request to the connection's address may be refused with, and repeating is not useless. */
const REPEATABLE_STATUSES = new Set([408, 426, 429]);

const UPGRADE_REQUIRED = 426;

/** A connection that nobody has started. */
export function idle(transport: Transport): Machine {
  return { phase: { name: "idle" }, transport, attempt: 0, blocked: 0, error: null };
}

/** When the machine wants a `tick`; `Infinity` if only an input can move it. */
export function deadline({ phase }: Machine): number {
  if (phase.name === "connected") return Math.min(phase.pingAt, phase.pongBy);
  return "until" in phase ? phase.until : Infinity;
}

/** Whether the token that the server knows is to be replaced. */
export function isOutdated({ expiresAt, now }: Surroundings): boolean {
  return now() > expiresAt() - RENEWAL_MS;
}

/** Decides what an input means. Inputs that do not fit the phase change nothing. */
export function step(machine: Machine, input: Input, around: Surroundings): Step {
  const { phase, transport } = machine;
  const now = around.now();
  switch (input.type) {
    case "start":
      return isOver(machine) ? dial({ ...machine, attempt: 0, error: null }, now) : [machine, null];
    case "stop":
      return phase.name === "idle" ? [machine, null] : [idle(transport), "drop"];
    case "opened": {
      if (phase.name !== "dialling") return [machine, null];
      const open: Phase = { name: "connected", since: now, pingAt: now + PING_INTERVAL_MS, pongBy: Infinity };
      return enter({ ...machine, blocked: 0, error: null }, open, null);
    }
    case "heard":
      if (phase.name !== "connected" || (transport === "websocket" && phase.pongBy === Infinity)) return [machine, null];
      // Comments come through an event stream by themselves: it is pinged by nobody as long as they do.
      return enter(machine, { ...phase, pingAt: now + PING_INTERVAL_MS, pongBy: Infinity }, null);
    case "gap":
      return lost(machine, cut("an event was missing"), around);
    case "refresh":
      // A handshake under way may have begun before somebody wanted more.
      return phase.name === "connected" || phase.name === "dialling" ? dial(machine, now) : [machine, null];
    case "wake":
      if (phase.name !== "reconnecting") return probe(machine, now);
      // It may be another network: WebSockets get another chance.
      return dial(around.mayFallBack ? { ...machine, transport: "websocket", blocked: 0 } : machine, now);
    case "probe":
      return probe(machine, now);
    case "suspend":
      return isOver(machine) ? [machine, null] : enter(machine, { name: "reconnecting", until: Infinity }, "drop");
    case "ended":
      return ended(machine, input, around);
    case "refused":
      return refused(machine, input, around);
    case "unreachable":
      return lost(machine, new DormouseError("UNREACHABLE", "the server cannot be reached", input), around);
    case "tick":
      return now < deadline(machine) ? [machine, null] : tick(machine, around, now);
  }
}

/** Whether nothing is under way, and nothing will be by itself. */
export function isOver({ phase: { name } }: Machine): boolean {
  return name === "idle" || name === "closed";
}

function enter(machine: Machine, phase: Phase, effect: Effect): Step {
  return [{ ...machine, phase }, effect];
}

function dial(machine: Machine, now: number): Step {
  return enter(machine, { name: "dialling", until: now + HANDSHAKE_TIMEOUT_MS }, "dial");
}

function ask(machine: Machine, now: number): Step {
  return enter(machine, { name: "asking", until: now + HANDSHAKE_TIMEOUT_MS }, "ask");
}

/** Finds out whether an open connection lives, unless that is being found out. */
function probe(machine: Machine, now: number): Step {
  const { phase, transport } = machine;
  if (phase.name !== "connected" || phase.pongBy < Infinity) return [machine, null];
  const patienceMs = transport === "sse" ? SILENCE_MS_MAX : PONG_TIMEOUT_MS;
  return enter(machine, { ...phase, pingAt: now + PING_INTERVAL_MS, pongBy: now + patienceMs }, "ping");
}

function tick(machine: Machine, around: Surroundings, now: number): Step {
  const { phase } = machine;
  switch (phase.name) {
    case "dialling":
      return ask(machine, now);
    case "asking":
      return lost(machine, cut("the server does not answer"), around);
    case "connected":
      return now < phase.pongBy ? probe(machine, now) : lost(machine, cut("the server fell silent"), around);
    default:
      return dial(machine, now);
  }
}

function ended(machine: Machine, input: Input & { type: "ended" }, around: Surroundings): Step {
  const { closeCode, reason } = input;
  if (closeCode === undefined) {
    return machine.phase.name === "dialling" ? ask(machine, around.now()) : [machine, null];
  }
  const isExpired = closeCode === TOKEN_EXPIRED || (closeCode === NOT_ALLOWED_ANY_MORE && isOutdated(around));
  const message = reason || `the connection was closed (${closeCode})`;
  const error = new DormouseError(isExpired ? "UNAUTHORIZED" : "CLOSED", message, { data: { closeCode } });
  // A token that does not help is refused at the handshake, and that is final.
  if (isExpired ? !around.hasTokens : FINAL_CLOSES.has(closeCode)) return closed(machine, error);
  const windowMs = closeCode === SERVER_RESTARTS ? Number(WITHIN_MS.exec(message)?.[1] ?? 0) : 0;
  return lost(machine, error, around, around.random() * Math.min(windowMs, ASKED_WAIT_MS_MAX));
}

function refused(machine: Machine, input: Input & { type: "refused" }, around: Surroundings): Step {
  const { status, error, retryAfterMs } = input;
  if (status < 500 && !REPEATABLE_STATUSES.has(status)) return closed(machine, error);
  const blocked = machine.blocked + Number(status === UPGRADE_REQUIRED);
  const fallsBack = around.mayFallBack && blocked >= BLOCKED_HANDSHAKES_MAX;
  const next: Machine = { ...machine, blocked, transport: fallsBack ? "sse" : machine.transport };
  return lost(next, error, around, Math.min(retryAfterMs, ASKED_WAIT_MS_MAX));
}

function closed(machine: Machine, error: DormouseError): Step {
  return enter({ ...machine, error }, { name: "closed" }, "drop");
}

/** The connection, or a try to have one, failed. The next try comes after the back-off, and not before `waitMs`. */
function lost(machine: Machine, error: DormouseError, around: Surroundings, waitMs = 0): Step {
  const { phase } = machine;
  if (isOver(machine) || phase.name === "reconnecting") return [machine, null];
  const now = around.now();
  const attempt = phase.name === "connected" && now - phase.since >= UPTIME_MS_MIN ? 0 : machine.attempt;
  const backOffMs = around.random() * Math.min(BACK_OFF_MS_MAX, BACK_OFF_MS * 2 ** attempt);
  const fixedMs = around.fixedDelayMs();
  const until = now + Math.max(waitMs, fixedMs < Infinity ? fixedMs : backOffMs);
  return enter({ ...machine, attempt: attempt + 1, error }, { name: "reconnecting", until }, "drop");
}

function cut(message: string): DormouseError {
  return new DormouseError("CONNECTION_LOST", message);
}
