// Tokens for development: whoever names themselves gets one. A real page has people sign in, and a server of its own that
// makes their tokens; the secret never leaves that server.

import { createHmac } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";

import type { Plugin } from "vite";

/** How long a token is good, in seconds. The page gets another one in time. */
const LIFETIME_S = 3_600;

/** What the server takes as a secret at least, in bytes. */
const SECRET_BYTES_MIN = 32;

const NAME_CHARS_MAX = 40;

/** Answers `POST /token {"name"}` with `{"token"}`: HS256, with the secret that the server has from `DORMOUSE_AUTH_SECRET` too. */
export function developmentTokens(): Plugin {
  const secret = process.env["DORMOUSE_AUTH_SECRET"] ?? "";
  return {
    name: "development-tokens",
    apply: "serve",
    configureServer: ({ middlewares }) => {
      if (Buffer.byteLength(secret) < SECRET_BYTES_MIN) {
        throw new Error("DORMOUSE_AUTH_SECRET, the server's and this page's, has at least 32 bytes: see scripts/chat.sh");
      }
      middlewares.use("/token", async (request, response) => {
        const name = await nameIn(request);
        response.setHeader("content-type", "application/json");
        if (name === null) response.statusCode = 400;
        response.end(JSON.stringify(name === null ? { message: "Give a name." } : { token: tokenFor(name, secret) }));
      });
    },
  };
}

/** The name that a request gives; `null` if it gives none that can be one. */
async function nameIn(request: IncomingMessage): Promise<string | null> {
  try {
    const { name } = JSON.parse(await text(request)) as { readonly name?: unknown };
    const trimmed = typeof name === "string" ? name.trim() : "";
    return trimmed !== "" && trimmed.length <= NAME_CHARS_MAX ? trimmed : null;
  } catch {
    return null;
  }
}

/** The same that `dormouse token --sub … --username … --permissions read,write` makes. */
function tokenFor(name: string, secret: string): string {
  const now = Math.floor(Date.now() / 1_000);
  const claims = { sub: name.toLowerCase(), username: name, permissions: ["read", "write"], iat: now, exp: now + LIFETIME_S };
  const signed = [{ alg: "HS256", typ: "JWT" }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}
