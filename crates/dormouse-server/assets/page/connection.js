// One object's WebSocket that stays up: it reconnects, resumes where it was, and gives each event once.

import { askForToken, authorization, hasToken, subprotocols } from "./token.js";

/** Milliseconds. The back-off is a random share of `BACK_OFF_MS × 2^attempt`, up to the maximum. */
const BACK_OFF_MS = 250;
const BACK_OFF_MS_MAX = 30_000;

/** A socket that lived this long was a success: the next back-off starts small again. */
const UPTIME_MS_MIN = 5_000;

const PING_INTERVAL_MS = 30_000;
const PONG_TIMEOUT_MS = 10_000;

/** Handshakes and the question after a failed one may take this long. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** The longest wait that a server may ask for. */
const RETRY_AFTER_MS_MAX = 300_000;

/** Close codes after which trying again would end the same way, and what they mean. */
const FINAL_CLOSES = new Map([
  [1000, "the server said goodbye"],
  [1001, "the server went away"],
  [1002, "protocol error"],
  [1003, "this kind of message is not supported"],
  [1007, "a message was not valid UTF-8"],
  [1008, "not allowed any more"],
  [1009, "a message was too large"],
  [4001, "a token is needed"],
  [4002, "the token is invalid or has expired"],
  [4003, "this user is not known"],
  [4004, "the server could not sign this user in"],
  [4005, "replaced by a newer connection"],
]);

const SERVER_RESTARTS = 1012;

const NOT_ALLOWED = 1008;

const UNAUTHORIZED = 401;
const FORBIDDEN = 403;
const UPGRADE_REQUIRED = 426;

/** What a refused handshake means, by the status that `fetch` gets at the same address. */
const REFUSALS = new Map([
  [400, { isFinal: true, reason: "the server does not accept this name" }],
  [UNAUTHORIZED, { isFinal: true, reason: "a valid token is needed" }],
  [FORBIDDEN, { isFinal: true, reason: "the server does not allow this page's origin" }],
  [404, { isFinal: true, reason: "the server has nothing at this address" }],
  [414, { isFinal: true, reason: "the name is too long" }],
  [UPGRADE_REQUIRED, { isFinal: false, reason: "the server is there, but no WebSocket gets through" }],
  [429, { isFinal: false, reason: "too many connections, the server asks to wait" }],
  [503, { isFinal: false, reason: "the server is busy" }],
]);

/**
 * A connection to `/ws/<kind>/<id>`. It starts when `start` is called and ends with `stop`.
 *
 * `onState` gets `{ name, reason?, attempt?, retryAt? }`; `name` is `idle`, `connecting`, `connected`,
 * `reconnecting` (with the time of the next try, or none while one is under way) or `closed`.
 * `onFrame` gets every frame of the object in order, each log event exactly once.
 */
export class Connection {
  #address;
  #onState;
  #onFrame;
  #listeners = new AbortController();
  #socket = null;
  #isStopped = true;

  // Position: the log that offsets belong to, and the last event of it that was handed on.
  #epoch = null;
  #offset = null;

  #attempt = 0;
  #retryTimer = 0;
  #handshakeTimer = 0;
  #uptimeTimer = 0;
  #pingTimer = 0;
  #pongTimer = 0;

  constructor(kind, id, { onState, onFrame }) {
    this.#address = `/ws/${kind}/${encodeURIComponent(id)}`;
    this.#onState = onState;
    this.#onFrame = onFrame;
  }

  start() {
    this.#isStopped = false;
    const { signal } = this.#listeners;
    addEventListener("online", () => this.#hurry(), { signal });
    addEventListener("pageshow", () => this.#hurry(), { signal });
    document.addEventListener("visibilitychange", () => this.#hurry(), { signal });
    this.#onState({ name: "connecting" });
    this.#dial();
  }

  /** Calls a method of the object; the frame that answers, `result` or `error`, carries the same `id`. */
  call(id, method, params) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#socket.send(JSON.stringify({ type: "call", id, method, params }));
  }

  /** Tries once more after `closed`, because a person asked for it. */
  again() {
    this.#attempt = 0;
    this.#onState({ name: "connecting" });
    this.#dial();
  }

  /** Ends it for good. Nothing is reported afterwards. */
  stop() {
    this.#isStopped = true;
    this.#listeners.abort();
    this.#drop();
  }

  #dial() {
    this.#drop();
    const url = new URL(this.#address, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    if (this.#epoch !== null && this.#offset !== null) {
      url.searchParams.set("since", this.#offset);
      url.searchParams.set("epoch", this.#epoch);
    }
    const socket = new WebSocket(url, subprotocols());
    this.#socket = socket;
    let wasOpen = false;
    // A socket that was dropped may still speak; only the present one counts.
    const ifPresent = (handle) => (event) => {
      if (this.#socket === socket) handle(event);
    };
    socket.onopen = ifPresent(() => {
      wasOpen = true;
      this.#opened();
    });
    socket.onmessage = ifPresent(({ data }) => this.#received(data));
    socket.onclose = ifPresent(({ code, reason }) => {
      this.#drop();
      if (wasOpen) this.#closed(code, reason);
      else this.#refused();
    });
    this.#handshakeTimer = setTimeout(() => {
      this.#drop();
      this.#retry("the server does not answer");
    }, HANDSHAKE_TIMEOUT_MS);
  }

  #opened() {
    clearTimeout(this.#handshakeTimer);
    this.#uptimeTimer = setTimeout(() => (this.#attempt = 0), UPTIME_MS_MIN);
    this.#pingTimer = setInterval(() => this.#ping(), PING_INTERVAL_MS);
    this.#onState({ name: "connected" });
  }

  #ping() {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.#pongTimer !== 0) return;
    this.#socket.send('{"type":"ping"}');
    this.#pongTimer = setTimeout(() => {
      this.#drop();
      this.#retry("the server fell silent");
    }, PONG_TIMEOUT_MS);
  }

  #received(text) {
    const frame = parse(text);
    if (frame === null) return;
    switch (frame.type) {
      case "pong":
        clearTimeout(this.#pongTimer);
        this.#pongTimer = 0;
        return;
      case "initial":
        // It may come at any time, and replaces all that is known.
        this.#epoch = frame.epoch ?? null;
        this.#offset = frame.offset ?? null;
        break;
      case "resumed":
        // Its offset is not taken: the missed events follow, and they move the position.
        break;
      default:
        if (typeof frame.offset === "number" && !this.#advance(frame)) return;
    }
    this.#onFrame(frame);
  }

  /** Moves the position to a log event. False if the event is not to be handed on. */
  #advance({ epoch, offset }) {
    // An object that did not exist had no `initial`: its first event says which log this is.
    if (epoch !== undefined && epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#offset = null;
    }
    if (this.#offset !== null && offset <= this.#offset) return false;
    if (this.#offset !== null && offset > this.#offset + 1) {
      // Never from a healthy server. Coming back with the old position fills the hole.
      this.#drop();
      this.#retry("an event was missing");
      return false;
    }
    this.#offset = offset;
    return true;
  }

  #closed(code, reason) {
    if (code === NOT_ALLOWED) askForToken("The token has expired, or does not allow this any more.");
    const final = FINAL_CLOSES.get(code);
    if (final !== undefined) {
      this.#onState({ name: "closed", reason: `${final} (${code})` });
    } else if (code === SERVER_RESTARTS) {
      this.#retry("the server restarts", Math.random() * spread(reason));
    } else {
      this.#retry("the connection was lost");
    }
  }

  async #refused() {
    const attempted = (this.#socket = {}); // Whoever drops or dials meanwhile replaces it.
    const { isFinal, reason, afterMs } = await reasonOfRefusal(this.#address);
    if (this.#socket !== attempted) return;
    this.#socket = null;
    if (isFinal) this.#onState({ name: "closed", reason });
    else this.#retry(reason, Math.max(afterMs, this.#backOff()));
  }

  #retry(reason, afterMs = this.#backOff()) {
    if (this.#isStopped) return;
    this.#attempt += 1;
    const state = { name: "reconnecting", reason, attempt: this.#attempt };
    this.#onState({ ...state, retryAt: Date.now() + afterMs });
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = 0;
      this.#onState(state);
      this.#dial();
    }, afterMs);
  }

  #backOff() {
    return Math.random() * Math.min(BACK_OFF_MS_MAX, BACK_OFF_MS * 2 ** this.#attempt);
  }

  /** The network came back, or somebody looks at the page again: now is better than later. */
  #hurry() {
    if (document.visibilityState === "hidden") return;
    if (this.#retryTimer === 0) {
      this.#ping();
      return;
    }
    this.#onState({ name: "reconnecting", attempt: this.#attempt });
    this.#dial();
  }

  #drop() {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#handshakeTimer);
    clearTimeout(this.#uptimeTimer);
    clearInterval(this.#pingTimer);
    clearTimeout(this.#pongTimer);
    this.#retryTimer = 0;
    this.#pongTimer = 0;
    const socket = this.#socket;
    this.#socket = null;
    if (socket instanceof WebSocket) socket.close();
  }
}

/** Browsers do not say why a handshake failed, so the same address is asked over plain HTTP. */
async function reasonOfRefusal(address) {
  try {
    let response = await ask(address, "GET");
    if (response.status === UNAUTHORIZED) {
      askForToken(hasToken() ? "The server does not take this token." : "This server wants a token.");
    } else if (response.status === FORBIDDEN && hasToken()) {
      askForToken("The token does not allow this.");
      return { isFinal: true, reason: "the token does not allow this", afterMs: 0 };
    }
    if (response.status === UPGRADE_REQUIRED) {
      // A GET to one's own server carries no `Origin`, unlike a handshake: a POST shows what that changes.
      const withOrigin = await ask(address, "POST");
      if (withOrigin.status === FORBIDDEN) response = withOrigin;
    }
    const unexpected = { isFinal: false, reason: `the server answered ${response.status}` };
    const afterMs = 1_000 * (Number(response.headers.get("retry-after")) || 0);
    const refusal = REFUSALS.get(response.status) ?? unexpected;
    return { ...refusal, afterMs: Math.min(afterMs, RETRY_AFTER_MS_MAX) };
  } catch {
    return { isFinal: false, reason: "the server cannot be reached", afterMs: 0 };
  }
}

function ask(address, method) {
  const signal = AbortSignal.timeout(HANDSHAKE_TIMEOUT_MS);
  return fetch(address, { method, headers: authorization(), cache: "no-store", signal });
}

function parse(text) {
  try {
    const frame = JSON.parse(text);
    return typeof frame === "object" ? frame : null;
  } catch {
    return null;
  }
}

/** The window, in milliseconds, that a restarting server gives its clients to come back in. */
function spread(reason) {
  const withinMs = parse(reason)?.withinMs;
  return typeof withinMs === "number" ? Math.min(Math.max(withinMs, 0), BACK_OFF_MS_MAX) : BACK_OFF_MS;
}
