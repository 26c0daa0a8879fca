// What the events of a kind mean for what is cached of its objects.

import type { CounterEvent, CounterMetadata, NoteData, NoteDeleted, NoteEvent } from "../generated.js";

/** Which of two states is newer: the one of the later life (`born`), and in one life the one with more changes. */
export interface Version {
  /** When the object was created, in a form that sorts as text. */
  readonly born: string;
  /** How many changes there were. */
  readonly changes: number;
}

/** What the events and results of a kind mean for the cache. Written with {@link defineRules}. */
export interface CacheRules<State = unknown, Said = unknown> {
  /** The query that answers with the state. */
  readonly query: string;
  /** The state after an event or a mutation's result; `null` if the object is gone, `undefined` if it does not say. */
  readonly state: (said: Said) => State | null | undefined;
  /** The version of a state. */
  readonly version: (state: State) => Version;
  /** The answers of queries that follow from the state, `query` among them. */
  readonly views: Readonly<Record<string, (state: State) => unknown>>;
  /** The methods and listings whose answers are asked for again after a change. */
  readonly invalidates: { readonly methods: readonly string[]; readonly listings: readonly string[] };
  /** What a mutation will probably do to the state: shown until the server answers, and taken back if it refuses. */
  readonly guesses: Readonly<Record<string, (state: State, input: never) => State>>;
}

/** Forgets the types that rules were written with: they are used for the kind that they belong to only. */
export function defineRules<State, Said>(rules: CacheRules<State, Said>): CacheRules {
  return rules as unknown as CacheRules;
}

function isNote(data: NoteData | NoteDeleted): data is NoteData {
  return "version" in data;
}

function withValue(metadata: CounterMetadata, value: number): CounterMetadata {
  return { ...metadata, value };
}

/** Counters: `getValue` and `getMetadata` are set, `getHistory` is asked for again. */
export const COUNTER_RULES: CacheRules = defineRules<CounterMetadata, CounterEvent>({
  query: "getMetadata",
  state: ({ metadata }) => metadata,
  version: ({ createdAt, operationCount }) => ({ born: createdAt, changes: operationCount }),
  views: { getMetadata: (metadata) => metadata, getValue: ({ value }) => ({ value }) },
  invalidates: { methods: ["getHistory"], listings: [] },
  guesses: {
    increment: (metadata, { amount = 1 }: { amount?: number }) => withValue(metadata, metadata.value + amount),
    decrement: (metadata, { amount = 1 }: { amount?: number }) => withValue(metadata, metadata.value - amount),
    setValue: (metadata, { value }: { value: number }) => withValue(metadata, value),
    reset: (metadata) => withValue(metadata, 0),
  },
});

/** Notes: `get` is set, `history` and `list` are asked for again. */
export const NOTE_RULES: CacheRules = defineRules<NoteData, NoteEvent | NoteData | NoteDeleted>({
  query: "get",
  state: (said) => {
    const data = "data" in said ? said.data : said;
    return isNote(data) ? data : null;
  },
  version: ({ createdAt, version }) => ({ born: createdAt, changes: version }),
  views: { get: (note) => note },
  invalidates: { methods: ["history"], listings: ["list"] },
  guesses: {
    update: (note, { title, blob }: { title?: string | null; blob?: string | null }) => ({
      ...note,
      title: title ?? note.title,
      blob: blob ?? note.blob,
    }),
  },
});
