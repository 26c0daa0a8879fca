/**
 * Typed, live access to the objects of a Dormouse server.
 *
 * @packageDocumentation
 */

export { Client, type ClientOptions, type ClientState, createClient, type ObjectOptions } from "./client.js";
export type { CallOptions } from "./calls.js";
export type { ConnectionState, ConnectionStatus } from "./connection.js";
export { DormouseError, type ErrorCode, type ErrorDetails } from "./errors.js";
export * from "./generated.js";
export type * from "./kinds.js";
export type { Transport } from "./machine.js";
export { ObjectHandle } from "./object.js";
export type { WebSocketConstructor, WebSocketLike } from "./transport.js";
