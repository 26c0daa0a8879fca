// One message. Its content is text: React shows it as it was written, whatever it looks like.

import type { Channel, ListedMessage, Person } from "@dormouse/client/channel";
import { memo } from "react";

import { Avatar } from "../avatar";
import { counted, inWords, sentence, timeOf } from "../words";

/** More faces do not fit. */
const READERS_MAX = 5;

interface MessageProps {
  readonly message: ListedMessage;
  readonly channel: Channel;
  readonly isOwn: boolean;
  readonly isConnected: boolean;
  /** Whether the one before is of the same person, a moment ago. */
  readonly isContinued: boolean;
  /** Where its thread is, if it can have one. */
  readonly threadHref?: string | undefined;
  readonly replies?: number;
  readonly readers?: readonly Person[];
}

export const Message = memo(function Message(props: MessageProps) {
  const { message, channel, isOwn, isConnected, isContinued, threadHref, replies = 0, readers = [] } = props;
  const { userId, username, avatarUrl, content, timestamp, state } = message;
  const time = timeOf(timestamp);
  return (
    <li
      className={isContinued ? "message continued" : "message"}
      data-message={message.id}
      data-state={state}
      data-own={isOwn}
    >
      {!isContinued && <Avatar userId={userId} username={username} avatarUrl={avatarUrl ?? null} />}
      <div className="body">
        {!isContinued && (
          <p className="author">
            <b>{username}</b>
            <time className="soft" dateTime={new Date(timestamp).toISOString()}>
              {time}
            </time>
          </p>
        )}
        <p className="content" data-testid="content" title={isContinued ? time : undefined}>
          {content}
        </p>
        {state === "sending" && (
          <p className="soft" data-testid="pending">
            {isConnected ? "Sending…" : "Waiting for the connection"}
          </p>
        )}
        {state === "failed" && <Failed message={message} channel={channel} />}
        {replies > 0 && threadHref !== undefined && (
          <a className="link replies" href={threadHref} data-testid="replies">
            {counted(replies, "reply", "replies")}
          </a>
        )}
      </div>
      {threadHref !== undefined && replies === 0 && (
        <a className="reply" href={threadHref} data-testid="reply" aria-label={`Reply to ${username}`}>
          Reply
        </a>
      )}
      {readers.length > 0 && <Readers readers={readers} />}
    </li>
  );
});

function Failed({ message: { key, error }, channel }: Pick<MessageProps, "message" | "channel">) {
  return (
    <p className="failed" data-testid="failed">
      <span>Not sent. {error !== null && sentence(error)}</span>
      <button type="button" className="link" data-testid="retry" onClick={() => channel.retry(key)}>
        Try again
      </button>
      <button type="button" className="link" onClick={() => channel.discard(key)}>
        Discard
      </button>
    </p>
  );
}

function Readers({ readers }: { readers: readonly Person[] }) {
  const names = inWords(readers.map(({ username }) => username));
  return (
    <p className="readers" data-testid="readers" title={`Read by ${names}`}>
      <span className="unseen">Read by {names}</span>
      {readers.slice(0, READERS_MAX).map((reader) => (
        <Avatar key={reader.userId} {...reader} />
      ))}
      {readers.length > READERS_MAX && <span className="soft">+{readers.length - READERS_MAX}</span>}
    </p>
  );
}
