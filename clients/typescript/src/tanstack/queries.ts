// Options for TanStack Query, and the cache that follows an object's events.

import type { Client } from "../client.js";
import type { DormouseError, ErrorCode } from "../errors.js";
import { ID_FIELDS, type Kinds } from "../generated.js";
import type { InputOf, KindMap, KindName, ListingName, MutationName, OutputOf, QueryName } from "../kinds.js";
import { keyOf, type QueryCacheLike, type QueryKeyOf } from "./cache.js";
import { guard, LiveState } from "./live_state.js";
import { type CacheRules, COUNTER_RULES, NOTE_RULES } from "./rules.js";

/** Events may come much faster than anybody reads a history: it is asked for at most so often, in milliseconds. */
const INVALIDATION_INTERVAL_MS = 200;

/** How often a query is repeated that may succeed then. */
const RETRIES_MAX = 3;

/** The errors after which the same question may be answered. */
const TRANSIENT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "SERVICE_UNAVAILABLE",
  "TOO_MANY_REQUESTS",
  "TIMEOUT",
  "CALL_TIMEOUT",
  "CONNECTION_LOST",
  "UNREACHABLE",
]);

/** Options for `useQuery`, `fetchQuery` and their like. */
export interface ObjectQuery<Output> {
  /** Where the answer is cached: the same place as that of tRPC's integration. */
  readonly queryKey: QueryKeyOf;
  /** Asks the server. */
  readonly queryFn: () => Promise<Output>;
  /** Repeats what may succeed then. */
  readonly retry: (failures: number, error: Error) => boolean;
  /** Keeps a late answer from overwriting what events said. */
  readonly structuralSharing: (old: unknown, fresh: unknown) => unknown;
}

/** Options of a listing for `useQuery`, `fetchQuery` and their like. */
export type ListingQuery<Output> = ObjectQuery<Output>;

/** Options for `useInfiniteQuery`: `pages[0]` is the newest. */
export interface ObjectPages<Output> {
  /** Where the pages are cached. */
  readonly queryKey: QueryKeyOf;
  /** Asks the server for a page. */
  readonly queryFn: (context: { pageParam: number | undefined }) => Promise<Output>;
  /** The newest page. */
  readonly initialPageParam: number | undefined;
  /** The next older page, if there is one. */
  readonly getNextPageParam: (last: Output) => number | undefined;
  /** Repeats what may succeed then. */
  readonly retry: (failures: number, error: Error) => boolean;
}

/** Options for `useMutation`. */
export interface ObjectMutation<Input, Output> {
  /** Names the object and the method. */
  readonly mutationKey: readonly unknown[];
  /** Calls the method. */
  readonly mutationFn: (input: Input) => Promise<Output>;
  /** Shows what will probably happen. */
  readonly onMutate: (input: Input) => (result?: unknown) => void;
  /** Shows what has happened. */
  readonly onSuccess: (result: Output, input: Input, settle: (result?: unknown) => void) => void;
  /** Takes back what was shown. */
  readonly onError: (error: Error, input: Input, settle: ((result?: unknown) => void) | undefined) => void;
}

/** What {@link createQueries} can be told beside the clients. */
export interface QueriesOptions {
  /** What events mean for the cache, for kinds of your own. Without rules an event makes all answers of its object be asked for again. */
  readonly rules?: Readonly<Record<string, CacheRules>>;
  /** The input field that names an object, by kind: `ID_FIELDS` of the file with your own kinds. */
  readonly idFields?: Readonly<Record<string, string>>;
}

/** Options for TanStack Query of all that a server's objects can be asked and told. */
export class Queries<K extends KindMap<K> = Kinds> {
  readonly #client: Client<K>;
  readonly #cache: QueryCacheLike;
  readonly #rules: Readonly<Record<string, CacheRules>>;
  readonly #idFields: Readonly<Record<string, string>>;
  readonly #states = new Map<string, LiveState>();

  /** Use {@link createQueries}. */
  constructor(client: Client<K>, cache: QueryCacheLike, { rules, idFields = ID_FIELDS }: QueriesOptions = {}) {
    this.#client = client;
    this.#cache = cache;
    this.#rules = { counter: COUNTER_RULES, note: NOTE_RULES, ...rules };
    this.#idFields = idFields;
  }

  /** A query of an object: `useQuery(queries.query("counter", "my-counter", "getValue"))`. */
  query<N extends KindName<K>, M extends QueryName<K, N>>(
    kind: N,
    id: string,
    method: M,
    input?: InputOf<K[N]["methods"][M]>,
  ): ObjectQuery<OutputOf<K[N]["methods"][M]>> {
    type Output = OutputOf<K[N]["methods"][M]>;
    const rules = this.#rules[kind];
    const view = rules?.views[method];
    return {
      queryKey: keyOf(kind, method, { ...input, ...this.#name(kind, id) }, "query"),
      queryFn: async () => {
        if (rules === undefined || view === undefined) return this.#ask<Output>(kind, id, method, input);
        // The whole state, whatever is asked: only that says how new it is.
        const state = await this.#ask<unknown>(kind, id, rules.query, {});
        const live = this.#states.get(this.#nameOf(kind, id));
        live?.offer(state);
        return (live?.view(method, view(state)) ?? view(state)) as Output;
      },
      retry,
      structuralSharing: guard,
    };
  }

  /** What all objects of a kind are asked together: `useQuery(queries.listing("note", "list", { limit: 20 }))`. */
  listing<N extends KindName<K>, L extends ListingName<K, N>>(
    kind: N,
    listing: L,
    input?: InputOf<K[N]["listings"][L]>,
  ): ListingQuery<OutputOf<K[N]["listings"][L]>> {
    const ask = this.#client.list.bind(this.#client) as (
      ...question: unknown[]
    ) => Promise<OutputOf<K[N]["listings"][L]>>;
    return {
      queryKey: keyOf(kind, listing, { ...input }, "query"),
      queryFn: () => ask(kind, listing, input),
      retry,
      structuralSharing: guard,
    };
  }

  /**
   * A query that answers in pages, the newest first: `useInfiniteQuery(queries.pages("counter", "my-counter", "getHistory"))`.
   * Its input has `before`, its output `next`.
   */
  pages<N extends KindName<K>, M extends QueryName<K, N>>(
    kind: N,
    id: string,
    method: M,
    input?: Omit<InputOf<K[N]["methods"][M]>, "before">,
  ): ObjectPages<OutputOf<K[N]["methods"][M]>> {
    return {
      queryKey: keyOf(kind, method, { ...input, ...this.#name(kind, id) }, "infinite"),
      queryFn: ({ pageParam: before }) =>
        this.#ask(kind, id, method, before === undefined ? { ...input } : { ...input, before }),
      initialPageParam: undefined,
      getNextPageParam: (last) => (last as { readonly next?: number }).next,
      retry,
    };
  }

  /**
   * A change of an object: `useMutation(queries.mutation("counter", "my-counter", "increment"))`. What it will probably do is
   * shown at once, and taken back if the server refuses.
   */
  mutation<N extends KindName<K>, M extends MutationName<K, N>>(
    kind: N,
    id: string,
    method: M,
  ): ObjectMutation<InputOf<K[N]["methods"][M]>, OutputOf<K[N]["methods"][M]>> {
    type Input = InputOf<K[N]["methods"][M]>;
    return {
      mutationKey: [[kind, method], this.#name(kind, id)],
      mutationFn: (input: Input) => this.#ask(kind, id, method, input),
      onMutate: (input) => {
        const state = this.#state(kind, id);
        const release = state?.hold(false);
        const settle = state?.guess(method, input);
        return (result) => {
          settle?.(result);
          // Otherwise an event does it.
          if (result !== undefined && state?.isFollowed !== true) this.#invalidate(kind, id);
          release?.();
        };
      },
      onSuccess: (result, _, settle) => settle(result),
      onError: (_, __, settle) => settle?.(),
    };
  }

  /**
   * Follows an object until the function that it gives is called: its events set what follows from them (`getValue`,
   * `getMetadata`, `get`), and make the rest be asked for again (`getHistory`, `history`, `list`).
   */
  follow<N extends KindName<K>>(kind: N, id: string): () => void {
    const state = this.#state(kind, id);
    const release = state?.hold(true);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const invalidate = (): void => {
      timer = undefined;
      this.#invalidate(kind, id);
    };
    const stop = this.#client.object(kind, id).on("*", (event) => {
      state?.hear(event, event.type === "initial");
      timer ??= setTimeout(invalidate, INVALIDATION_INTERVAL_MS);
    });
    return () => {
      stop();
      if (timer !== undefined) {
        clearTimeout(timer);
        invalidate();
      }
      release?.();
    };
  }

  #invalidate(kind: string, id: string): void {
    const { methods, listings } = this.#rules[kind]?.invalidates ?? { methods: [""], listings: [] };
    for (const method of methods) {
      const path = method === "" ? [kind] : [kind, method];
      void this.#cache.invalidateQueries({ queryKey: [path, { input: this.#name(kind, id) }] });
    }
    for (const listing of listings) void this.#cache.invalidateQueries({ queryKey: [[kind, listing]] });
  }

  #state(kind: string, id: string): LiveState | null {
    const rules = this.#rules[kind];
    if (rules === undefined) return null;
    const name = this.#nameOf(kind, id);
    let state = this.#states.get(name);
    if (state === undefined) {
      state = new LiveState(this.#cache, rules, kind, this.#name(kind, id), () => this.#states.delete(name));
      this.#states.set(name, state);
    }
    return state;
  }

  #ask<Output>(kind: KindName<K>, id: string, method: string, input: unknown): Promise<Output> {
    const object = this.#client.object(kind, id);
    const call = object.call.bind(object) as (method: string, input: unknown) => Promise<unknown>;
    return call(method, input) as Promise<Output>;
  }

  #name(kind: string, id: string): Record<string, string> {
    return { [this.#idFields[kind] ?? "id"]: id };
  }

  #nameOf(kind: string, id: string): string {
    return `${kind}/${id}`;
  }
}

/** Makes the options for one client and one `QueryClient`. Make it once, outside of components. */
export function createQueries<K extends KindMap<K> = Kinds>(
  client: Client<K>,
  queryClient: QueryCacheLike,
  options: QueriesOptions = {},
): Queries<K> {
  return new Queries(client, queryClient, options);
}

function retry(failures: number, error: Error): boolean {
  // By its code, not its class: a page may have this package both as ESM and as CJS.
  return failures < RETRIES_MAX && TRANSIENT.has((error as Partial<DormouseError>).code as ErrorCode);
}
