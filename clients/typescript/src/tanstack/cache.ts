// The part of a QueryClient that is used, and the keys under which data is found in it.

/**
 * The part of TanStack's `QueryClient` that is used. It is written down here so that this package depends on none of its
 * adapters.
 */
export interface QueryCacheLike {
  /** See `QueryClient`. */
  getQueryData(queryKey: readonly unknown[]): unknown;
  /** See `QueryClient`. */
  setQueryData(queryKey: readonly unknown[], data: unknown): unknown;
  /** See `QueryClient`. */
  setQueryDefaults(
    queryKey: readonly unknown[],
    options: { structuralSharing?: (old: unknown, fresh: unknown) => unknown },
  ): void;
  /** See `QueryClient`. */
  invalidateQueries(filters: { queryKey: readonly unknown[] }): Promise<void>;
  /** See `QueryClient`. */
  resetQueries(filters: { queryKey: readonly unknown[] }): Promise<void>;
}

/** A key, as tRPC's TanStack integration writes it: what is cached under it is the same for both. */
export type QueryKeyOf = readonly [
  path: readonly string[],
  about?: { readonly input?: object; readonly type?: "query" | "infinite" },
];

/** Where the answers of `<kind>.<method>` are; of all inputs that contain `input`, if there is no type. */
export function keyOf(kind: string, method: string, input: object, type?: "query" | "infinite"): QueryKeyOf {
  return [[kind, method], type === undefined ? { input } : { input, type }];
}

/** `old` if both are the same data: whoever looks at it has nothing to do. */
export function keepEqual(old: unknown, fresh: unknown): unknown {
  return old !== undefined && JSON.stringify(old) === JSON.stringify(fresh) ? old : fresh;
}
