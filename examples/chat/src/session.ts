// Who uses this tab, and their client. Each tab has its own, so that two tabs can be two people.

import { type ChannelClient, createClient } from "@dormouse/client/channel";

/** Under this the tab remembers who uses it. */
const NAME_KEY = "dormouse-chat-name";

/** A token that ends within this time is not used any more, in milliseconds. The client asks in good time. */
const TOKEN_MS_LEFT_MIN = 120_000;

/** The name that was given in this tab. */
export function rememberedName(): string | null {
  return sessionStorage.getItem(NAME_KEY);
}

/** Remembers a name; `null` forgets it. */
export function rememberName(name: string | null): void {
  if (name === null) sessionStorage.removeItem(NAME_KEY);
  else sessionStorage.setItem(NAME_KEY, name);
}

/** A client for somebody. Its token is fetched when it is needed, and again before it ends. */
export function clientFor(name: string): ChannelClient {
  let held: { readonly token: string; readonly expiresAt: number } | null = null;
  return createClient({
    url: import.meta.env.VITE_SERVER_URL ?? `http://${location.hostname}:8094`,
    getToken: async () => {
      if (held === null || held.expiresAt - Date.now() < TOKEN_MS_LEFT_MIN) held = await fetchToken(name);
      return held.token;
    },
  });
}

async function fetchToken(name: string): Promise<{ token: string; expiresAt: number }> {
  const response = await fetch("/token", { method: "POST", body: JSON.stringify({ name }) });
  if (!response.ok) throw new Error(`no token for ${name}`);
  const { token } = (await response.json()) as { readonly token: string };
  const { exp } = JSON.parse(atob((token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/"))) as { exp: number };
  return { token, expiresAt: exp * 1_000 };
}
