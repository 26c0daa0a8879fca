// The state of one object as the cache shows it: what the server said last, and what will probably become of it.

import { keepEqual, keyOf, type QueryCacheLike } from "./cache.js";
import type { CacheRules, Version } from "./rules.js";

/** A mutation that was not answered yet. */
export interface Guess {
  readonly apply: (state: unknown) => unknown;
  /** A state with so many changes contains it, unless somebody else changed the object meanwhile. */
  readonly containedIn: number;
}

/** The state of one object in one cache. It lives while the object is followed or a mutation of it is under way. */
export class LiveState {
  readonly #cache: QueryCacheLike;
  readonly #rules: CacheRules;
  readonly #kind: string;
  readonly #input: object;
  #known: unknown;
  #guesses: Guess[] = [];
  #holders = 0;
  #followers = 0;
  readonly #end: () => void;

  /** Begins with what is cached. `input` names the object; `end` is called when nobody holds it any more. */
  constructor(cache: QueryCacheLike, rules: CacheRules, kind: string, input: object, end: () => void) {
    this.#cache = cache;
    this.#rules = rules;
    this.#kind = kind;
    this.#input = input;
    this.#known = cache.getQueryData(keyOf(kind, rules.query, input, "query"));
    this.#end = end;
    // Also for queries that others make, such as tRPC's, under the same keys.
    cache.setQueryDefaults([[kind]], { structuralSharing: guard });
  }

  /** Whether somebody holds it. */
  get isAlive(): boolean {
    return this.#holders > 0;
  }

  /** Whether the object's events arrive here. */
  get isFollowed(): boolean {
    return this.#followers > 0;
  }

  /** Keeps it until the function that it gives is called. */
  hold(isFollower: boolean): () => void {
    this.#holders += 1;
    this.#followers += Number(isFollower);
    return () => {
      this.#holders -= 1;
      this.#followers -= Number(isFollower);
      if (this.#holders === 0) this.#end();
    };
  }

  /** What an event said. The whole state replaces all that was known, even by something older. */
  hear(said: unknown, isWhole: boolean): void {
    const state = this.#rules.state(said);
    if (state === undefined) return;
    if (state === null) this.#forget();
    else if (isWhole) this.#replace(state);
    else this.offer(state);
    this.#show();
  }

  /** What an answer said. Taken if it is not older than what is known. */
  offer(state: unknown): void {
    if (this.#known === undefined || !isOlder(this.#version(state), this.#version(this.#known))) this.#replace(state);
  }

  /** What a query of this object shows, when an answer arrives that may be late. */
  view(name: string, answer: unknown): unknown {
    if (name === this.#rules.query) this.offer(answer);
    if (this.#known === undefined) return answer;
    return tag(this.#rules.views[name]?.(this.#shown()), { state: this, name });
  }

  /** Shows what a mutation will probably do, until the function that it gives is called with its result or without. */
  guess(method: string, input: unknown): (result?: unknown) => void {
    const apply = this.#rules.guesses[method];
    const guess: Guess | null =
      apply !== undefined && this.#known !== undefined
        ? {
            apply: (state) => apply(state, (input ?? {}) as never),
            containedIn: this.#version(this.#known).changes + this.#guesses.length + 1,
          }
        : null;
    if (guess !== null) {
      this.#guesses.push(guess);
      this.#show();
    }
    return (result) => {
      this.#guesses = this.#guesses.filter((each) => each !== guess);
      if (result === undefined) this.#show();
      else this.hear(result, false);
    };
  }

  #replace(state: unknown): void {
    this.#known = state;
    const { changes } = this.#version(state);
    this.#guesses = this.#guesses.filter(({ containedIn }) => containedIn > changes);
  }

  #forget(): void {
    if (this.#known === undefined) return;
    this.#known = undefined;
    this.#guesses = [];
    for (const name of Object.keys(this.#rules.views)) {
      // Whoever looks asks again, and is told that there is nothing.
      void this.#cache.resetQueries({ queryKey: keyOf(this.#kind, name, this.#input, "query") });
    }
  }

  #show(): void {
    if (this.#known === undefined) return;
    const shown = this.#shown();
    for (const [name, view] of Object.entries(this.#rules.views)) {
      this.#cache.setQueryData(keyOf(this.#kind, name, this.#input, "query"), tag(view(shown), { state: this, name }));
    }
  }

  #shown(): unknown {
    return this.#guesses.reduce((state, { apply }) => apply(state), this.#known);
  }

  #version(state: unknown): Version {
    return this.#rules.version(state);
  }
}

/** Which query of which object a piece of cached data is. */
interface Tag {
  readonly state: LiveState;
  readonly name: string;
}

const tags = new WeakMap<object, Tag>();

/** Remembers what a piece of data is. It is a copy: one object may be the data of several queries. */
function tag(data: unknown, about: Tag): unknown {
  const copy = { ...(data as object) };
  tags.set(copy, about);
  return copy;
}

/**
 * TanStack's `structuralSharing`: a late answer does not overwrite what events said meanwhile. What is not known to be an
 * object's state is only compared.
 */
export function guard(old: unknown, fresh: unknown): unknown {
  const about = typeof old === "object" && old !== null ? tags.get(old) : undefined;
  const isOurs = typeof fresh === "object" && fresh !== null && tags.has(fresh);
  if (about === undefined || isOurs || !about.state.isAlive) return keepEqual(old, fresh);
  return keepEqual(old, about.state.view(about.name, fresh));
}

function isOlder(one: Version, other: Version): boolean {
  return one.born === other.born ? one.changes < other.changes : one.born < other.born;
}
