import { createHmac } from "node:crypto";

/** The secret of servers that tests start. */
export const SECRET = "a secret that only these tests have";

/** A token, signed by HS256. */
export function jwt(claims: object, secret: string = SECRET): string {
  const signed = [{ alg: "HS256", typ: "JWT" }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}
