// Two ways to get an object's frames: a WebSocket, and server-sent events. Both end when their signal does.

import { refusal, type Refusal } from "./http.js";
import type { Input } from "./machine.js";

/** The part of the browser's `WebSocket` that is used; npm's `ws` has it too. */
export interface WebSocketLike {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { readonly data: unknown } & never) => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string } & never) => void) | null;
  onerror: ((event: never) => void) | null;
  /** 1 while it is open. */
  readonly readyState: number;
  /** Sends a text message. */
  send(text: string): void;
  /** Begins to close. */
  close(): void;
}

/** What makes a {@link WebSocketLike}: the browser's `WebSocket`, or npm's `ws` where there is none. */
export type WebSocketConstructor = new (url: string, protocols?: string[]) => WebSocketLike;

/** The state of a WebSocket that takes messages. */
const OPEN = 1;

/** The close code of a connection that ended without one. */
const CUT_OFF = 1006;

/** What a transport needs, and whom it tells. */
export interface Dial {
  readonly url: URL;
  readonly token: string | null;
  /** Ends the transport; nothing is told afterwards. */
  readonly signal: AbortSignal;
  readonly tell: (input: Input) => void;
  /** Gets the text of each frame. */
  readonly hear: (text: string) => void;
}

/** Opens a WebSocket. What it gives sends a text, if the socket is open. */
export function dialWebSocket(dial: Dial, WebSocketHere: WebSocketConstructor): (text: string) => void {
  const { url, token, signal, tell, hear } = dial;
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocketHere(url.href, token === null ? undefined : ["dormouse", `bearer.${token}`]);
  let wasOpen = false;
  socket.onopen = () => {
    wasOpen = true;
    tell({ type: "opened" });
  };
  socket.onmessage = ({ data }) => {
    tell({ type: "heard" });
    if (typeof data === "string") hear(data);
  };
  socket.onclose = ({ code, reason }) => tell(wasOpen ? { type: "ended", closeCode: code, reason } : { type: "ended" });
  // What went wrong is in `onclose`; without a handler npm's `ws` would throw.
  socket.onerror = () => {};
  signal.addEventListener("abort", () => {
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  });
  return (text) => {
    // While it closes a socket takes nothing, and browsers complain. Calls wait for the next one.
    if (socket.readyState === OPEN) socket.send(text);
  };
}

/** Opens an event stream. Nothing can be sent through it. Rejects if the server cannot be reached any more. */
export async function dialEventStream(dial: Dial, fetchHere: typeof fetch): Promise<void> {
  const { url, token, signal, tell, hear } = dial;
  const response = await fetchHere(url, request(token, signal));
  if (!response.ok || response.body === null) {
    tell(await refused(response));
    return;
  }
  tell({ type: "opened" });
  let reason = "";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = "", read = await reader.read(); !read.done; read = await reader.read()) {
    tell({ type: "heard" });
    const blocks = (text + read.value).split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const data = field(block, "data");
      if (field(block, "event") === "close") reason = data;
      else if (data !== "") hear(data);
    }
  }
  tell({ type: "ended", closeCode: Number.parseInt(reason, 10) || CUT_OFF, reason });
}

/** Browsers do not say why a handshake failed, so the same address is asked over plain HTTP. Rejects if it cannot be reached. */
export async function askWhy(dial: Dial, fetchHere: typeof fetch): Promise<void> {
  const { url, token, signal, tell } = dial;
  let response = await fetchHere(url, request(token, signal));
  if (response.status === 426) {
    // A GET to one's own server carries no `Origin`, unlike a handshake: a POST shows what that changes.
    const withOrigin = await fetchHere(url, { ...request(token, signal), method: "POST" });
    if (withOrigin.status === 403) response = withOrigin;
  }
  tell(await refused(response));
}

function request(token: string | null, signal: AbortSignal): RequestInit {
  return { cache: "no-store", signal, headers: token === null ? {} : { authorization: `Bearer ${token}` } };
}

/** Why a request was refused, as far as the server says. */
async function refused(response: Response): Promise<Input> {
  const { status, headers } = response;
  // A full channel, and whatever stands before the server, does not answer in JSON.
  const body = (await response.json().catch(() => ({}))) as { readonly error?: Refusal };
  const error = refusal(body.error ?? { code: "SERVICE_UNAVAILABLE", message: `the server answered ${status}` }, {
    status,
  });
  return { type: "refused", status, error, retryAfterMs: 1_000 * (Number(headers.get("retry-after")) || 0) };
}

/** The value of a field in a block of an event stream. The server writes each on one line. */
function field(block: string, name: string): string {
  const line = block.split("\n").find((candidate) => candidate.startsWith(`${name}: `));
  return line?.slice(name.length + 2) ?? "";
}
