// Calls over HTTP: tRPC's wire, one call per request.

import { DormouseError, type ErrorCode, type ErrorDetails } from "./errors.js";

/** Milliseconds between two tries of a call that did not get an answer: a random share, doubled each time. */
const BACK_OFF_MS = 250;
const BACK_OFF_MS_MAX = 5_000;

/** A call, and how it gets to the server. */
export interface HttpCall {
  readonly fetch: typeof fetch;
  /** Fetched anew for every try. */
  readonly token: () => Promise<string | null>;
  readonly url: URL;
  readonly input: unknown;
  /** The same for every try: the server applies it once. Of what only reads it is ignored. */
  readonly key: string;
  /** Ends the tries. */
  readonly signal: AbortSignal;
}

/**
 * Calls until the server answers or the signal ends it. Resolves to the result; rejects with a {@link DormouseError} if the
 * server refuses, with something else if the signal ended it.
 *
 * A query is posted as well: that is allowed, and its key is ignored.
 */
export async function callOverHttp({ fetch, token, url, input, key, signal }: HttpCall): Promise<unknown> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const headers: Record<string, string> = { "content-type": "application/json", "idempotency-key": key };
      const bearer = await token();
      if (bearer !== null) headers["authorization"] = `Bearer ${bearer}`;
      const response = await fetch(url, {
        method: "POST",
        headers,
        body: JSON.stringify(input),
        signal,
        cache: "no-store",
      });
      const { result, error } = (await response.json()) as Envelope;
      if (result !== undefined) return result.data;
      if (error !== undefined) throw refusal(error);
    } catch (err) {
      if (err instanceof DormouseError || signal.aborted) throw err;
    }
    const waitMs = Math.random() * Math.min(BACK_OFF_MS_MAX, BACK_OFF_MS * 2 ** attempt);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    signal.throwIfAborted();
  }
}

interface Envelope {
  readonly result?: { readonly data: unknown };
  readonly error?: Refusal;
}

/** An error as the server writes it: in tRPC's envelope, or in a frame. */
export interface Refusal {
  readonly message: string;
  /** In a frame the name, in an envelope tRPC's number. */
  readonly code?: string | number;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** The error that a server's refusal is. `otherwise` stands for what the server does not say. */
export function refusal({ message, code, data }: Refusal, otherwise: ErrorDetails["data"] = {}): DormouseError {
  return new DormouseError((data?.["code"] ?? code) as ErrorCode, message, { data: data ?? otherwise });
}
