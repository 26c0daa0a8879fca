/**
 * Live objects in TanStack Query: options for queries and mutations, and a cache that follows the events.
 *
 * @packageDocumentation
 */

export type { QueryCacheLike, QueryKeyOf } from "./tanstack/cache.js";
export {
  createQueries,
  type ListingQuery,
  type ObjectMutation,
  type ObjectPages,
  type ObjectQuery,
  Queries,
  type QueriesOptions,
} from "./tanstack/queries.js";
export { type CacheRules, COUNTER_RULES, defineRules, NOTE_RULES, type Version } from "./tanstack/rules.js";
