/**
 * Group chat, and who is where.
 *
 * @packageDocumentation
 */

export { ChannelClient, createClient } from "./channel/client.js";
export { Channel, type ChannelState, type ListedMessage, type SendOptions } from "./channel/channel.js";
export type { MessageState } from "./channel/outbox.js";
export { Presence, type PresenceState } from "./channel/presence.js";
export type {
  Ack,
  ChannelHistory,
  ChannelHistoryInput,
  ChannelMembers,
  ChannelMessage,
  ChannelThread,
  ChannelUser,
} from "./channel/wire.js";
