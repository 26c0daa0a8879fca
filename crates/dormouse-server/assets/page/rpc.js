// Calls to `/rpc`, and their errors in words.

import { CallError } from "./call_error.js";
import { askForToken, authorization, hasToken } from "./token.js";

const CALL_TIMEOUT_MS = 15_000;

/** What a person is told, by the code of the answer. The rest is told the server's own sentence. */
const WORDS = new Map([
  ["UNAUTHORIZED", "The server wants a valid token for this."],
  ["FORBIDDEN", "This is not allowed from here."],
  ["TIMEOUT", "The server took too long and gave up."],
  ["PAYLOAD_TOO_LARGE", "This is too large for the server."],
  ["TOO_MANY_REQUESTS", "Too many requests. Wait a moment and try again."],
  ["INTERNAL_SERVER_ERROR", "The server failed on this call."],
  ["SERVICE_UNAVAILABLE", "The server is busy. Try again in a moment."],
]);

/** Changes something. Resolves to the result; rejects with a `CallError`. */
export function mutate(procedure, input) {
  return call(`/rpc/${procedure}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(input),
  });
}

/** Asks something. Resolves to the result; rejects with a `CallError`. */
export function query(procedure, input) {
  return call(`/rpc/${procedure}?input=${encodeURIComponent(JSON.stringify(input))}`, {});
}

async function call(address, request) {
  let response;
  let envelope;
  try {
    const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
    const headers = { ...request.headers, ...authorization() };
    response = await fetch(address, { ...request, headers, signal, cache: "no-store" });
    envelope = await response.json();
  } catch {
    throw new CallError(unknownOutcome(response, request));
  }
  if (envelope?.result !== undefined) return envelope.result.data;
  const { message, data = {} } = envelope?.error ?? {};
  const words = WORDS.get(data.code) ?? sentence(message ?? `the server answered ${response.status}`);
  if (data.code === "UNAUTHORIZED") askForToken(words);
  else if (data.code === "FORBIDDEN" && hasToken()) askForToken("The token does not allow this.");
  throw new CallError(words, { code: data.code, data });
}

function unknownOutcome(response, { method }) {
  const what = response === undefined
    ? "The server cannot be reached."
    : "The server's answer could not be read.";
  return method === "POST" ? `${what} It is not known whether this was applied.` : what;
}

/** The server writes its messages in lower case and without a full stop. */
function sentence(message) {
  const trimmed = message.trim().replace(/\.$/, "");
  return `${trimmed.charAt(0).toUpperCase()}${trimmed.slice(1)}.`;
}
