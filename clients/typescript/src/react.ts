/**
 * Live objects in React.
 *
 * @packageDocumentation
 */

import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";

import type { Client, ClientState } from "./client.js";
import type { ConnectionState } from "./connection.js";
import type { CounterEvent, CounterMetadata, Kinds, NoteData, NoteEvent } from "./generated.js";
import type { Delivered, EventOf, KindMap, KindName } from "./kinds.js";
import type { ObjectHandle } from "./object.js";
import { useDormouse } from "./react/context.js";

export { type LiveChannel, type LivePresence, useChannel, type UseChannelOptions, usePresence } from "./react/channel.js";
export { DormouseProvider, type DormouseProviderProps, useDormouse } from "./react/context.js";

/** The state of all connections in one, that of the one which needs attention most: for a banner. */
export function useConnection(): ClientState {
  const client = useDormouse();
  const subscribe = useMemo(() => client.onState.bind(client), [client]);
  const state = (): ClientState => client.state;
  return useSyncExternalStore(subscribe, state, state);
}

/** How {@link useObject} watches. */
export interface UseObjectOptions<Event> {
  /** Whether to watch; `true` if left out. What was seen stays. */
  readonly enabled?: boolean | undefined;
  /**
   * Gets every event, the latest function that was given. Events with `isPast` happened before this component began to watch:
   * they say how things are, and are no news.
   */
  readonly onEvent?: ((event: Event, isPast: boolean) => void) | undefined;
  /** Replaces the growing back-off by this fixed delay, in milliseconds. */
  readonly reconnectInterval?: number | undefined;
}

/** An object that a component watches. */
export interface LiveObject<K extends KindMap<K>, N extends KindName<K>> extends ConnectionState {
  /** Whether events arrive. */
  readonly isConnected: boolean;
  /** Whether there is no connection but there will be: at the start, and while it is tried again. */
  readonly isConnecting: boolean;
  /** The latest event; `null` before the first. */
  readonly lastEvent: EventOf<K, N> | null;
  /** The object itself. */
  readonly object: ObjectHandle<K, N>;
  /** Calls a method: {@link ObjectHandle.call}. */
  readonly call: ObjectHandle<K, N>["call"];
}

/** Watches an object as long as the component is there. Components that watch the same object share one connection. */
export function useObject<K extends KindMap<K> = Kinds, N extends KindName<K> = KindName<K>>(
  kind: N,
  id: string,
  { enabled = true, onEvent, reconnectInterval }: UseObjectOptions<EventOf<K, N>> = {},
): LiveObject<K, N> {
  const client = useDormouse<K>();
  const watched = useMemo(() => {
    const object = client.object(kind, id, { reconnectIntervalMs: reconnectInterval });
    return { object, call: object.call.bind(object), subscribe: object.onState.bind(object) };
  }, [client, kind, id, reconnectInterval]);
  const { object, call, subscribe } = watched;
  const state = useSyncExternalStore(
    subscribe,
    () => object.state,
    () => object.state,
  );

  const [last, setLast] = useState<{ readonly of: string; readonly event: EventOf<K, N> } | null>(null);
  const name = `${kind}/${id}`;
  const latest = useRef(onEvent);
  useEffect(() => {
    latest.current = onEvent;
  });
  useEffect(() => {
    if (!enabled) return;
    return object.on("*", (event, isPast) => {
      setLast({ of: name, event: event as EventOf<K, N> });
      latest.current?.(event as EventOf<K, N>, isPast);
    });
  }, [object, name, enabled]);

  const { status } = state;
  return {
    ...state,
    isConnected: status === "connected",
    isConnecting: status === "connecting" || status === "reconnecting",
    lastEvent: last?.of === name ? last.event : null,
    object,
    call,
  };
}

/** {@link useObject} and {@link useDormouse} for kinds of your own: `export const { useObject } = createHooks<Kinds>()`. */
export interface Hooks<K extends KindMap<K>> {
  /** {@link useDormouse} for these kinds. */
  readonly useDormouse: () => Client<K>;
  /** {@link useObject} for these kinds. */
  readonly useObject: <N extends KindName<K>>(
    kind: N,
    id: string,
    options?: UseObjectOptions<EventOf<K, N>>,
  ) => LiveObject<K, N>;
}

/** Gives the hooks for the kinds of a file that you generated: `createHooks<Kinds>()`. */
export function createHooks<K extends KindMap<K>>(): Hooks<K> {
  return { useDormouse, useObject };
}

/** A change of a counter. */
export type CounterUpdate = Delivered<Exclude<CounterEvent, { readonly type: "initial" }>>;

/** A change of a note. */
export type NoteUpdated = Delivered<Exclude<NoteEvent, { readonly type: "initial" }>>;

/** How {@link useCounterWebSocket} and {@link useNoteWebSocket} watch. */
export interface UseWebSocketOptions<Update> {
  /** Whether to watch; `true` if left out. */
  readonly enabled?: boolean | undefined;
  /** Gets every change that happens while the component watches, and those that it missed while the connection was away. */
  readonly onUpdate?: ((update: Update) => void) | undefined;
  /** Replaces the growing back-off by this fixed delay, in milliseconds. */
  readonly reconnectInterval?: number | undefined;
}

/** A counter that a component watches. */
export interface CounterWebSocket extends LiveObject<Kinds, "counter"> {
  /** Its value; `undefined` before the server said it. */
  readonly value: number | undefined;
  /** What else is known of it; `undefined` before the server said it. */
  readonly metadata: CounterMetadata | undefined;
}

/** Watches a counter: its value, its changes and its connection. */
export function useCounterWebSocket(name: string, options: UseWebSocketOptions<CounterUpdate> = {}): CounterWebSocket {
  const live = useUpdates("counter", name, options);
  return { ...live, value: live.lastEvent?.value, metadata: live.lastEvent?.metadata };
}

/** A note that a component watches. */
export interface NoteWebSocket extends LiveObject<Kinds, "note"> {
  /** Its newest version; `null` if it was deleted, `undefined` if the server did not say anything: there is no such note. */
  readonly note: NoteData | null | undefined;
}

/** Watches a note: its newest version, its changes and its connection. */
export function useNoteWebSocket(id: string, options: UseWebSocketOptions<NoteUpdated> = {}): NoteWebSocket {
  const live = useUpdates("note", id, options);
  const { lastEvent } = live;
  return { ...live, note: lastEvent?.type === "delete" ? null : lastEvent?.data };
}

function useUpdates<N extends KindName<Kinds>>(
  kind: N,
  id: string,
  {
    enabled,
    onUpdate,
    reconnectInterval,
  }: UseWebSocketOptions<Exclude<EventOf<Kinds, N>, { readonly type: "initial" }>>,
): LiveObject<Kinds, N> {
  return useObject<Kinds, N>(kind, id, {
    enabled,
    reconnectInterval,
    onEvent: (event, isPast) => {
      if (!isPast && event.type !== "initial")
        onUpdate?.(event as Exclude<EventOf<Kinds, N>, { readonly type: "initial" }>);
    },
  });
}
