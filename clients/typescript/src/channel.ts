/**
 * Group chat, and who is where.
 *
 * @packageDocumentation
 */

export { ChannelClient, createClient } from "./channel/client.js";
export { Channel, type SendOptions, type ThreadPage } from "./channel/channel.js";
export type { MessageState } from "./channel/outbox.js";
export { Presence, type PresenceState } from "./channel/presence.js";
export type { ChannelState, ListedMessage } from "./channel/state.js";
export type { Ack, OnlineUser, Person, PresentUser } from "./channel/wire.js";
