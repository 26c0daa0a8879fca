// Channels, and who is where, as hooks.

import { useEffect, useMemo, useSyncExternalStore } from "react";

import type { ChannelClient } from "../channel/client.js";
import type { Channel } from "../channel/channel.js";
import type { PresenceState } from "../channel/presence.js";
import type { ChannelState } from "../channel/state.js";
import type { ConnectionState } from "../connection.js";
import type { Kinds } from "../generated.js";
import type { KindMap, KindName } from "../kinds.js";
import { useDormouse } from "./context.js";

/** How {@link useChannel} and {@link usePresence} watch. */
export interface UseChannelOptions {
  /** Whether to watch; `true` if left out. What was seen of a channel stays. */
  readonly enabled?: boolean | undefined;
}

/** A channel that a component watches. */
export interface LiveChannel extends ChannelState {
  /** Whether messages arrive. */
  readonly isConnected: boolean;
  /** Whether there is no connection but there will be: at the start, and while it is tried again. */
  readonly isConnecting: boolean;
  /** The channel itself, for what is done rarely. */
  readonly channel: Channel;
  /** {@link Channel.send}. */
  readonly send: Channel["send"];
  /** {@link Channel.typing}. */
  readonly typing: Channel["typing"];
  /** {@link Channel.setPresence}. */
  readonly setPresence: Channel["setPresence"];
  /** {@link Channel.markRead}. */
  readonly markRead: Channel["markRead"];
}

/** Who is with an object that a component watches. */
export interface LivePresence extends PresenceState {
  /** Whether changes arrive. */
  readonly isConnected: boolean;
}

/**
 * Watches a channel as long as the component is there. All components share what is known of it. The client must be one of
 * `@dormouse/client/channel`.
 */
export function useChannel(id: string, { enabled = true }: UseChannelOptions = {}): LiveChannel {
  const client = useChannelClient();
  const bound = useMemo(() => {
    const channel = client.channel(id);
    const { send, typing, setPresence, markRead } = channel;
    return {
      channel,
      send: send.bind(channel),
      typing: typing.bind(channel),
      setPresence: setPresence.bind(channel),
      markRead: markRead.bind(channel),
    };
  }, [client, id]);
  const state = useWatched(bound.channel, enabled);
  const { status } = state;
  return {
    ...state,
    ...bound,
    isConnected: status === "connected",
    isConnecting: status === "connecting" || status === "reconnecting",
  };
}

/**
 * Says that this user is with an object as long as the component is there, and who else is. Uses the connection that the object has
 * anyway. The client must be one of `@dormouse/client/channel`.
 */
export function usePresence<K extends KindMap<K> = Kinds>(
  kind: KindName<K>,
  id: string,
  { enabled = true }: UseChannelOptions = {},
): LivePresence {
  const client = useChannelClient<K>();
  const presence = useMemo(() => client.presence(kind, id), [client, kind, id]);
  const state = useWatched(presence, enabled);
  return { ...state, isConnected: state.status === "connected" };
}

/** What is watched by `connect`, and changes by `onState`. */
interface Watchable<State extends ConnectionState> {
  readonly state: State;
  readonly onState: (listener: () => void) => () => void;
  readonly connect: () => () => void;
}

function useWatched<State extends ConnectionState>(watched: Watchable<State>, isEnabled: boolean): State {
  const subscribe = useMemo(() => watched.onState.bind(watched), [watched]);
  const state = (): State => watched.state;
  useEffect(() => (isEnabled ? watched.connect() : undefined), [watched, isEnabled]);
  return useSyncExternalStore(subscribe, state, state);
}

function useChannelClient<K extends KindMap<K> = Kinds>(): ChannelClient<K> {
  const client = useDormouse<K>() as ChannelClient<K>;
  if (!("channel" in client)) throw new Error("this component needs a client of @dormouse/client/channel");
  return client;
}
