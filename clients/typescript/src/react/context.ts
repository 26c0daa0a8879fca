// The client of a tree of components.

import { createContext, createElement, type ReactElement, type ReactNode, useContext } from "react";

import type { Client } from "../client.js";
import type { Kinds } from "../generated.js";
import type { KindMap } from "../kinds.js";

/** What a component can do with any client, whatever its kinds are. */
type AnyClient = Client<Record<string, never>>;

const ClientContext = createContext<AnyClient | null>(null);

/** What {@link DormouseProvider} takes. */
export interface DormouseProviderProps<K extends KindMap<K> = Kinds> {
  /** The client of all components below. Make it once, outside of components. */
  readonly client: Client<K>;
  /** Who may use it. */
  readonly children?: ReactNode;
}

/** Gives a client to the components below. */
export function DormouseProvider<K extends KindMap<K> = Kinds>({
  client,
  children,
}: DormouseProviderProps<K>): ReactElement {
  return createElement(ClientContext.Provider, { value: client as unknown as AnyClient }, children);
}

/** The client of the nearest {@link DormouseProvider}. Throws if there is none. */
export function useDormouse<K extends KindMap<K> = Kinds>(): Client<K> {
  const client = useContext(ClientContext);
  if (client === null) throw new Error("this component needs a <DormouseProvider client={…}> above it");
  return client as unknown as Client<K>;
}
