// The token that a server with keys wants to see. It is kept as long as the tab is.

import { CallError } from "./call_error.js";
import { clearError, element, onSubmit } from "./screen.js";

const KEPT_AS = "dormouse-token";

/** What fits into the name of a subprotocol, as every JWT does. */
const FORM = /^[\w.-]+$/;

/** What a request over HTTP says of who asks. */
export function authorization() {
  const token = kept();
  return token === "" ? {} : { authorization: `Bearer ${token}` };
}

/** The same for a socket: a browser can send nothing else with its handshake. */
export function subprotocols() {
  const token = kept();
  return token === "" ? [] : ["dormouse", `bearer.${token}`];
}

/** Whether there is a token, be it a good one or not. */
export function hasToken() {
  return kept() !== "";
}

/** Asks for a token, or for another one; `reason` is a sentence for people. */
export function askForToken(reason) {
  const form = element("token-form");
  element("token-reason").textContent = reason;
  if (form.hidden) element("token").value = kept();
  form.hidden = false;
}

/** Calls `given` whenever a person has given another token, or taken it back. */
export function onToken(given) {
  onSubmit("token-form", () => {
    const token = element("token").value.trim();
    if (token !== "" && !FORM.test(token)) throw new CallError("This is no token.");
    sessionStorage.setItem(KEPT_AS, token);
    element("token-form").hidden = true;
    clearError();
    given();
  });
}

function kept() {
  return sessionStorage.getItem(KEPT_AS) ?? "";
}
