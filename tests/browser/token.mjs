// Tokens as a server with a secret wants them.

import { createHmac } from "node:crypto";

/** The secret of servers that check tokens, and the setting that names it. */
const SECRET = "0123456789abcdef0123456789abcdef";
export const GUARDED = { DORMOUSE_AUTH_SECRET: SECRET };

const LIFE_SECONDS = 3_600;

/** A token of a user with these permissions. */
export function tokenOf(user, permissions = ["read", "write"], lifeSeconds = LIFE_SECONDS) {
  const exp = Math.floor(Date.now() / 1_000) + lifeSeconds;
  const parts = [{ typ: "JWT", alg: "HS256" }, { sub: user, permissions, exp }];
  const message = parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${message}.${createHmac("sha256", SECRET).update(message).digest("base64url")}`;
}
