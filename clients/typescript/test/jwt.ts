/** A token as a server would make it, with a signature that nobody checks. */
export function jwt(claims: object): string {
  return `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`;
}
