// One channel, as its user sees it: what was said, who is here, and what is on its way.

import type { CallOptions } from "../calls.js";
import { DormouseError } from "../errors.js";
import type { ChannelGetHistory, ChannelHistory, ChannelMembers, ChannelMessage, ChannelThread } from "../generated.js";
import type { ObjectHandle } from "../object.js";
import { Listing } from "./listing.js";
import { MessageLog } from "./log.js";
import { Outbox } from "./outbox.js";
import { PacedListeners } from "./paced.js";
import { People } from "./people.js";
import type { ChannelState } from "./state.js";
import { Watch } from "./watch.js";
import type { Ack, ChannelFrame, ChannelKinds, Person } from "./wire.js";

/** Who goes on writing says so this often, in milliseconds. */
const TYPING_INTERVAL_MS = 3_000;

/** How long a message may take where it goes over HTTP, with all its tries, in milliseconds. */
const POST_TIMEOUT_MS = 60_000;

/** How many messages {@link Channel.loadOlder} asks for. */
const PAGE_MESSAGES = 50;

/** The close code after which the last message is not repeated. */
const SERVER_FAILED = 1011;

/** Which page of a thread. */
export interface ThreadPage {
  /** Only messages after the one of this id; from the oldest if left out. */
  readonly after?: string;
  /** At most so many, 1 to 200; 50 if left out. */
  readonly limit?: number;
}

/** How a message is sent. */
export interface SendOptions {
  /** The message that it answers: it becomes part of that thread. */
  readonly threadId?: string | undefined;
}

/** What a channel needs from its client. */
export interface ChannelSurface {
  readonly object: ObjectHandle<ChannelKinds, "channel">;
  /** Who the client is, once a token was asked for. */
  readonly me: () => Person | null;
}

/**
 * One channel of a server. It is open while somebody watches (`connect`) and one second longer, or as long as messages are on
 * their way. What was seen stays while it is closed, and what was missed is fetched.
 */
export class Channel {
  /** The channel's id. */
  readonly id: string;
  readonly #object: ObjectHandle<ChannelKinds, "channel">;
  readonly #me: () => Person | null;
  readonly #watch: Watch<ChannelFrame>;
  readonly #listeners = new PacedListeners();
  readonly #log = new MessageLog();
  readonly #outbox = new Outbox();
  readonly #people = new People();
  /** The state, until something changes. */
  #state: ChannelState | null = null;
  #isLoaded = false;
  /** Whether the present connection is up. */
  #isUp = false;
  #lastError: DormouseError | null = null;
  #typedAt = -Infinity;
  #expiry: ReturnType<typeof setTimeout> | undefined;
  /** What was read, and said of this user, here: said again until the server repeats it. */
  #read: string | null = null;
  #status: string | null = null;
  readonly #listing = new Listing();
  #older: Promise<void> | null = null;

  /** Use {@link ChannelClient.channel}. */
  constructor({ object, me }: ChannelSurface) {
    this.id = object.id;
    this.#object = object;
    this.#me = me;
    this.#watch = new Watch(object, {
      types: ["*"],
      hear: (frame) => this.#hear(frame),
      changed: () => this.#connectionChanged(),
      isBusy: () => this.#outbox.isBusy,
      ended: () => this.#connectionChanged(),
    });
  }

  /** How things are. The same object until something changes. */
  get state(): ChannelState {
    return (this.#state ??= this.#describe());
  }

  /** Whether somebody needs it, or something is on its way. */
  get isInUse(): boolean {
    return this.#watch.isOpen || this.#listeners.size > 0 || this.#outbox.messages.length > 0;
  }

  /** Calls `listener` when `state` has changed, until the function that it gives is called; of a burst not each time. Opens nothing. */
  onState(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Opens the channel, if nobody has, and keeps it open until the function that it gives is called. */
  connect(): () => void {
    return this.#watch.open();
  }

  /**
   * Says something, now or as soon as there is a connection; at most 1,000 messages wait. It is among `messages` at once. A
   * message that was cut off is sent again under the same name, so it is stored once. Opens the channel until it is stored.
   *
   * Resolves once it is stored. Rejects with a {@link DormouseError}; it is then `failed`, and {@link Channel.retry} sends it again.
   */
  send(content: string, { threadId }: SendOptions = {}): Promise<Ack> {
    this.#typedAt = -Infinity;
    const stored = this.#outbox.add(content, threadId);
    this.#pump();
    return stored;
  }

  /** Sends a message that failed again. `key` is that of the message. */
  retry(key: string): void {
    this.#outbox.retry(key);
    this.#pump();
  }

  /** Gives a message up that failed. `key` is that of the message. */
  discard(key: string): void {
    if (this.#outbox.messages.some(({ clientId, state }) => clientId === key && state === "failed")) {
      this.#outbox.remove(key);
      this.#changed();
    }
  }

  /** Says whether this user writes: call it on every key. That somebody writes is told every 3 s at most, that they stopped at once. */
  typing(isTyping: boolean): void {
    const now = Date.now();
    const wasTyping = now - this.#typedAt < TYPING_INTERVAL_MS * 2;
    if (isTyping ? now - this.#typedAt < TYPING_INTERVAL_MS : !wasTyping) return;
    this.#typedAt = isTyping ? now : -Infinity;
    this.#object.send({ type: "typing", isTyping });
  }

  /** Says something of this user to those who are here, such as `away`, and again after every reconnect. */
  setPresence(status: string): void {
    this.#status = status;
    this.#object.send({ type: "presence", status });
  }

  /** Says that this user has read everything up to a message. What is not newer than what was read is passed over. */
  markRead(messageId: string): void {
    const read = this.#lastRead();
    if (read !== null && !this.#log.isAfter(messageId, read)) return;
    this.#read = messageId;
    this.#object.send({ type: "read", messageId });
    this.#changed();
  }

  /** Adds a page of older messages to `messages`. Calls while one is under way are one. Rejects with a {@link DormouseError}. */
  loadOlder(): Promise<void> {
    this.#older ??= this.#loadOlder().finally(() => {
      this.#older = null;
    });
    return this.#older;
  }

  /** A page of messages, newest first, from before a message or from the newest. Rejects with a {@link DormouseError}. */
  history(input: ChannelGetHistory = {}, options?: CallOptions): Promise<ChannelHistory> {
    return this.#object.call("history", input, options);
  }

  /** A page of a thread, oldest first, from after a message or from the one that began it. Rejects with a {@link DormouseError}. */
  thread(threadId: string, input: ThreadPage = {}, options?: CallOptions): Promise<ChannelThread> {
    return this.#object.call("thread", { threadId, ...input }, options);
  }

  /**
   * Everybody who has ever written or read here, 1,000 at most, and how far they have read: `receipts` know it from then on. Rejects
   * with a {@link DormouseError}.
   */
  async members(options?: CallOptions): Promise<ChannelMembers> {
    const members = await this.#object.call("members", {}, options);
    for (const { userId, lastReadMessageId } of members.members) this.#noteRead(userId, lastReadMessageId);
    this.#changed();
    return members;
  }

  /** Tries now, whatever the next try waits for; also after `closed`. */
  reconnect(): void {
    this.#object.reconnect();
  }

  /** Ends it now, whoever watches, and refuses what is on its way: the client is closed. */
  end(): void {
    this.#outbox.refuseAll(new DormouseError("CLOSED", "the client was closed"));
    this.#watch.end();
    this.#changed();
  }

  #hear(frame: ChannelFrame): void {
    switch (frame.type) {
      case "initial_state":
        this.#isLoaded = true;
        for (const message of frame.messages) this.#claim(message);
        this.#log.replace(frame.messages);
        this.#people.replace(frame.onlineUsers, frame.totalOnline);
        this.#noteRead(this.#me()?.userId, frame.lastReadMessageId);
        this.#sync();
        break;
      case "message":
        this.#claim(frame.message);
        // What is sent again on request is not an event of the log, and has no place in it.
        this.#log.add(frame.message, frame.offset === undefined);
        this.#people.type(frame.message, false, Date.now());
        break;
      case "ack":
        this.#acknowledge(frame);
        break;
      case "synced":
        this.#log.synced(frame.more);
        this.#sync();
        break;
      case "read":
        this.#noteRead(frame.userId, frame.messageId);
        if (this.#read !== null && !this.#isUnsaid(this.#read)) this.#read = null;
        break;
      case "typing":
        if (frame.userId !== this.#me()?.userId) this.#people.type(frame, frame.isTyping, Date.now());
        this.#expireTyping();
        break;
      case "presence":
        this.#people.describe(frame.userId, frame.status);
        break;
      case "user_connected":
        this.#people.see(frame);
        break;
      case "user_disconnected":
        this.#people.lose(frame.userId);
        break;
      case "online":
        this.#people.replace(frame.onlineUsers, frame.totalOnline);
        break;
    }
    this.#settle();
  }

  #connectionChanged(): void {
    const { status, error } = this.#watch.state;
    const isUp = status === "connected";
    if (isUp && error !== null && error !== this.#lastError) this.#refused(error);
    this.#lastError = error;
    if (isUp && !this.#isUp) this.#up();
    if (!isUp && this.#isUp) this.#down(error);
    if (status === "closed" && error !== null) this.#outbox.refuseAll(error);
    this.#changed();
  }

  /** Says what the server was not told, or has not answered. */
  #up(): void {
    this.#isUp = true;
    if (this.#read !== null) this.#object.send({ type: "read", messageId: this.#read });
    if (this.#status !== null) this.#object.send({ type: "presence", status: this.#status });
    this.#sync();
    this.#pump();
  }

  #down(error: DormouseError | null): void {
    this.#isUp = false;
    this.#outbox.cut(error?.data["closeCode"] === SERVER_FAILED);
    this.#typedAt = -Infinity;
    this.#people.expire();
  }

  /** What the server refused: a message, unless it says that it is something else. */
  #refused(error: DormouseError): void {
    const { clientId = this.#outbox.oldestUnderWay } = error.data as { readonly clientId?: string };
    if ((error.code as string) === "unknown_message") {
      // What was asked for: what comes after a message, or that one was read.
      if (this.#log.gapAfter === null) this.#read = null;
      else this.#log.outdate();
    } else if (clientId !== undefined) this.#outbox.refuse(clientId, error);
    this.#settle();
  }

  /** Asks for what is missing between what was seen and what is new. */
  #sync(): void {
    const afterMessageId = this.#log.gapAfter;
    if (afterMessageId === null) return;
    if (this.#watch.state.transport === "websocket") this.#object.send({ type: "sync", afterMessageId });
    else this.#log.giveUp();
  }

  /** Somebody has read up to a message, unless they had read further. */
  #noteRead(userId: string | undefined, messageId: string | null | undefined): void {
    if (userId === undefined || messageId == null) return;
    const before = this.#people.readBy(userId);
    if (before === undefined || this.#log.isAfter(messageId, before)) this.#people.read(userId, messageId);
  }

  /** Sends what waits, as far as that is possible now. */
  #pump(): void {
    this.#watch.hold();
    const { status, transport, error } = this.#watch.state;
    if (status === "closed" && error !== null) this.#outbox.refuseAll(error);
    if (status === "connected") {
      for (const message of this.#outbox.next()) {
        const { content, threadId, clientId } = message;
        const input = { content, ...(threadId !== undefined && { threadId }), clientId };
        if (transport === "websocket") this.#object.send({ type: "message", ...input });
        else void this.#post(clientId, input);
      }
    }
    this.#changed();
  }

  /** Sends a message where no socket can. */
  async #post(clientId: string, input: { readonly content: string; readonly clientId: string }): Promise<void> {
    try {
      const { id, timestamp } = await this.#object.call("post", input, { timeoutMs: POST_TIMEOUT_MS });
      this.#acknowledge({ clientId, messageId: id, timestamp });
    } catch (error) {
      this.#outbox.refuse(clientId, error as DormouseError);
    }
    this.#settle();
  }

  #acknowledge({ clientId, messageId, timestamp }: Ack & { readonly clientId?: string | null }): void {
    const claimed = this.#outbox.find(clientId)?.messageId;
    if (clientId == null || claimed === undefined) return;
    // What looked like it came from another tab of the same user.
    if (claimed !== null && claimed !== messageId) this.#log.label(claimed, undefined);
    this.#outbox.acknowledge(clientId, { messageId, timestamp });
  }

  /** A message of this user that says what one on its way says is taken for that one until its answer comes: it is not shown twice. */
  #claim({ id, userId, content, threadId, timestamp }: ChannelMessage): void {
    if (userId !== this.#me()?.userId || this.#log.has(id)) return;
    const twin = this.#outbox.messages.find(
      (message) =>
        message.wasSent &&
        message.messageId === null &&
        message.content === content &&
        message.threadId === (threadId ?? undefined),
    );
    if (twin === undefined) return;
    this.#outbox.claim(twin.clientId, id);
    // Nobody answers what was given up.
    if (twin.state === "failed") this.#outbox.acknowledge(twin.clientId, { messageId: id, timestamp });
  }

  /** Lets go of what has arrived, sends what waited for that, and shows it. */
  #settle(): void {
    for (const { clientId, messageId, state } of this.#outbox.messages) {
      if (messageId === null || !this.#log.has(messageId)) continue;
      this.#log.label(messageId, clientId);
      if (state === "sent") this.#outbox.remove(clientId);
    }
    if (this.#outbox.isBusy) this.#pump();
    else this.#watch.linger();
    this.#changed();
  }

  async #loadOlder(): Promise<void> {
    const oldest = this.#log.messages[0];
    if (oldest === undefined || !this.#log.hasOlder) return;
    const { messages, next } = await this.history({ before: oldest.id, limit: PAGE_MESSAGES });
    // What was shown meanwhile may be something else.
    if (this.#log.messages[0]?.id !== oldest.id) return;
    this.#log.prepend([...messages].reverse(), next !== undefined);
    this.#changed();
  }

  #expireTyping(): void {
    clearTimeout(this.#expiry);
    const at = this.#people.nextExpiry;
    if (at === Infinity) return;
    this.#expiry = setTimeout(() => {
      this.#people.expire(Date.now());
      this.#expireTyping();
      this.#changed();
    }, at - Date.now());
  }

  /** Whether the server has not said yet that this user has read up to this message. */
  #isUnsaid(messageId: string): boolean {
    const said = this.#people.readBy(this.#me()?.userId ?? "");
    return said === undefined || this.#log.isAfter(messageId, said);
  }

  #lastRead(): string | null {
    if (this.#read !== null && this.#isUnsaid(this.#read)) return this.#read;
    return this.#people.readBy(this.#me()?.userId ?? "") ?? null;
  }

  #changed(): void {
    this.#state = null;
    this.#listeners.tell();
  }

  #describe(): ChannelState {
    const me = this.#me();
    const lastReadId = this.#lastRead();
    const arrived = this.#log.messages;
    const underWay = this.#outbox.messages.filter(({ messageId }) => messageId === null || !this.#log.has(messageId));
    return {
      ...this.#watch.state,
      isLoaded: this.#isLoaded,
      messages: this.#listing.list(arrived, underWay, me),
      hasOlder: this.#log.hasOlder,
      me,
      onlineUsers: this.#people.online,
      onlineTotal: this.#people.total,
      typingUsers: this.#people.typing,
      receipts: this.#people.receipts,
      lastReadId,
      unread: this.#log.after(lastReadId).filter(({ userId }) => userId !== me?.userId).length,
    };
  }
}
