// What is known of a server's kinds at compile time, and the questions asked of it.

/** One method, as a generated `Kinds` describes it. A `creation` is a mutation that may be called without an id. */
export interface MethodShape {
  readonly kind: "query" | "mutation" | "creation";
  readonly input: unknown;
  readonly output: unknown;
}

/** One kind, as a generated `Kinds` describes it. */
export interface KindShape {
  /** The input field that names an object. */
  readonly id: string;
  /** What its sockets receive. */
  readonly event: { readonly type: string };
  /** What its objects can be asked to do, by name: {@link MethodShape}s. */
  readonly methods: object;
  /** What can be asked of all its objects together, by name: {@link MethodShape}s. */
  readonly listings: object;
}

/** What a generated `Kinds` is: a {@link KindShape} by name. */
export type KindMap<K> = { readonly [N in keyof K]: KindShape };

/** The names of all kinds. */
export type KindName<K> = keyof K & string;

/** An event as it is delivered: with its place in the log, if it has one. */
export type Delivered<Event> = Event & {
  /** Its place in the object's log; transient events have none. */
  readonly offset?: number;
  /** The log that offsets belong to; only in `initial` and in what begins a log. */
  readonly epoch?: string;
};

/** What the sockets of a kind receive. */
export type EventOf<K extends KindMap<K>, N extends KindName<K>> = Delivered<K[N]["event"]>;

/** The types of a kind's events. */
export type EventType<K extends KindMap<K>, N extends KindName<K>> = K[N]["event"]["type"];

/** A kind's event of one type; any of them for `*`. */
export type EventOfType<K extends KindMap<K>, N extends KindName<K>, T> = T extends "*"
  ? EventOf<K, N>
  : Delivered<Extract<K[N]["event"], { readonly type: T }>>;

/** The names of a kind's methods. */
export type MethodName<K extends KindMap<K>, N extends KindName<K>> = keyof K[N]["methods"] & string;

/** The names of a kind's listings. */
export type ListingName<K extends KindMap<K>, N extends KindName<K>> = keyof K[N]["listings"] & string;

/** The names of a kind's methods that only read. */
export type QueryName<K extends KindMap<K>, N extends KindName<K>> = {
  [M in MethodName<K, N>]: K[N]["methods"][M] extends { readonly kind: "query" } ? M : never;
}[MethodName<K, N>];

/** The names of a kind's methods that change something. */
export type MutationName<K extends KindMap<K>, N extends KindName<K>> = Exclude<MethodName<K, N>, QueryName<K, N>>;

/** What a method or listing takes, without the field that names the object. */
export type InputOf<Method> = Method extends { readonly input: infer Input }
  ? keyof Input extends never
    ? Record<string, never>
    : Input
  : never;

/** What a method or listing answers. */
export type OutputOf<Method> = Method extends { readonly output: infer Output } ? Output : never;

/** The arguments of a call: the input may be left out where everything in it may be. */
export type Arguments<Input, Options> =
  Record<never, never> extends Input ? [input?: Input, options?: Options] : [input: Input, options?: Options];
