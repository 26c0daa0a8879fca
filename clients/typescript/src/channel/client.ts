// A client that has channels, and knows who is where.

import { Client, type ClientOptions } from "../client.js";
import type { Kinds } from "../generated.js";
import type { KindMap, KindName } from "../kinds.js";
import type { ObjectHandle } from "../object.js";
import { claims } from "../token.js";
import { Channel } from "./channel.js";
import { Presence } from "./presence.js";
import type { ChannelKinds, Person } from "./wire.js";

/** So many are kept with what was seen in them, if nobody needs them. */
const KEPT_MAX = 32;

/** A {@link Client} that has channels, and knows who is where. */
export class ChannelClient<K extends KindMap<K> = Kinds> extends Client<K> {
  readonly #channels = new Map<string, Channel>();
  readonly #presences = new Map<string, Presence>();
  readonly #identity: { me: Person | null };

  /** Makes a client. Nothing is opened before somebody watches something. */
  constructor(options: ClientOptions = {}) {
    const { getToken } = options;
    const identity: { me: Person | null } = { me: null };
    const getTokenHere = async (): Promise<string | null> => {
      const token = (await getToken?.()) ?? null;
      identity.me = userOf(token);
      return token;
    };
    super(getToken === undefined ? options : { ...options, getToken: getTokenHere });
    this.#identity = identity;
  }

  /** A channel. Nothing is opened by this: see {@link Channel}. */
  channel(id: string): Channel {
    return kept(this.#channels, id, () => {
      const object = this.object("channel" as KindName<K>, id) as unknown as ObjectHandle<ChannelKinds, "channel">;
      return new Channel({ object, me: () => this.#identity.me });
    });
  }

  /** Who is with an object. Nothing is opened by this: see {@link Presence}. */
  presence(kind: KindName<K>, id: string): Presence {
    return kept(this.#presences, `${kind}/${id}`, () => new Presence(this.object(kind, id)));
  }

  /** {@inheritDoc Client.close} */
  override close(): void {
    for (const each of [...this.#channels.values(), ...this.#presences.values()]) each.end();
    super.close();
  }
}

/** Makes a client that has channels. */
export function createClient<K extends KindMap<K> = Kinds>(options: ClientOptions = {}): ChannelClient<K> {
  return new ChannelClient<K>(options);
}

/** All who look at one thing share what is known of it. What nobody needs goes when it is the longest unused of too many. */
function kept<T extends { readonly isInUse: boolean }>(all: Map<string, T>, key: string, make: () => T): T {
  const found = all.get(key) ?? make();
  all.delete(key);
  all.set(key, found);
  const unused = [...all].filter(([name, { isInUse }]) => name !== key && !isInUse);
  for (const [name] of unused.slice(0, -KEPT_MAX)) all.delete(name);
  return found;
}

/** Who a token says that its owner is. */
function userOf(token: string | null): Person | null {
  const { sub, username, avatar } = claims(token);
  if (typeof sub !== "string") return null;
  return {
    userId: utf8(sub),
    username: utf8(typeof username === "string" ? username : sub),
    ...(typeof avatar === "string" && { avatarUrl: utf8(avatar) }),
  };
}

/** A text that came as one character for each byte. */
function utf8(bytes: string): string {
  return new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0)));
}
