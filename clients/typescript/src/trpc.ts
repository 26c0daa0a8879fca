/**
 * The type of a server's tRPC router, for an unmodified `@trpc/client`.
 *
 * @packageDocumentation
 */

import type {
  TRPCBuiltRouter,
  TRPCDefaultErrorShape,
  TRPCMutationProcedure,
  TRPCQueryProcedure,
  TRPCSubscriptionProcedure,
} from "@trpc/server";

import type { FlatNames, Kinds } from "./generated.js";
import type { Delivered, KindMap, KindShape, MethodShape } from "./kinds.js";

/** What all routers here have in common. */
export interface RouterOptions {
  /** Unknown to clients. */
  readonly ctx: object;
  /** Unknown to clients. */
  readonly meta: object;
  /** Errors are tRPC's own. */
  readonly errorShape: TRPCDefaultErrorShape;
  /** Plain JSON. */
  readonly transformer: false;
}

/** The field that names the object, beside a method's own input. A creation may leave it out. */
type Named<Kind extends KindShape, Method> = Method extends { readonly kind: "creation" }
  ? { readonly [Field in Kind["id"]]?: string }
  : { readonly [Field in Kind["id"]]: string };

/** One type instead of an intersection: that is what editors show. */
type Flat<T> = { [P in keyof T]: T[P] };

type Procedure<Method, Name> = Method extends MethodShape
  ? Method["kind"] extends "query"
    ? TRPCQueryProcedure<{ meta: object; input: Flat<Name & Method["input"]>; output: Method["output"] }>
    : TRPCMutationProcedure<{ meta: object; input: Flat<Name & Method["input"]>; output: Method["output"] }>
  : never;

/** A listing's input, which may be left out where everything in it may be. */
type Listing<Method> = Method extends MethodShape
  ? TRPCQueryProcedure<{
      meta: object;
      input: Record<never, never> extends Method["input"] ? Method["input"] | void : Method["input"];
      output: Method["output"];
    }>
  : never;

/** An object's events. Those with a place in the log come with an id; giving it back as `lastEventId` resumes there. */
type Events<Kind extends KindShape> = TRPCSubscriptionProcedure<{
  meta: object;
  input: Flat<Named<Kind, unknown> & { readonly lastEventId?: string | null }>;
  output: AsyncIterable<{ readonly id: string; readonly data: Delivered<Kind["event"]> }, void>;
}>;

/** The procedures of a kind: its methods, its listings, and the subscription `events`. */
export type ProceduresOf<Kind extends KindShape> = {
  [M in keyof Kind["methods"]]: Procedure<Kind["methods"][M], Named<Kind, Kind["methods"][M]>>;
} & { [L in keyof Kind["listings"]]: Listing<Kind["listings"][L]> } & { events: Events<Kind> };

/** The router behind `/rpc`, for the kinds of a generated file: `type AppRouter = RouterOf<Kinds>`. */
export type RouterOf<K extends KindMap<K>> = TRPCBuiltRouter<
  RouterOptions,
  { [N in keyof K & string]: ProceduresOf<K[N]> }
>;

/** The router behind `/rpc`, for the built-in kinds. */
export type AppRouter = RouterOf<Kinds>;

/** The procedure that a path such as `note.create` leads to. */
type ProcedureAt<Path> = Path extends `${infer N extends keyof Kinds & string}.${infer M}`
  ? M extends keyof ProceduresOf<Kinds[N]>
    ? ProceduresOf<Kinds[N]>[M]
    : never
  : never;

/** The router behind `/api/v1`: the notes' procedures by their flat names. */
export type FlatRouter = TRPCBuiltRouter<RouterOptions, { [F in keyof FlatNames]: ProcedureAt<FlatNames[F]> }>;
