// What was said, oldest first: older messages come when the top is reached, and the end stays in sight of who is at the end.

import type { ListedMessage, Person } from "@dormouse/client/channel";
import type { LiveChannel } from "@dormouse/client/react";
import { Fragment, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";

import { dayOf } from "../words";
import { Message } from "./message";
import type { Reading } from "./reading";
import { readersByMessage } from "./readers";

/** Messages of one person within this time are one block, in milliseconds. */
const BLOCK_MS = 300_000;

/** So near to the end somebody is at the end, in pixels. */
const END_PX = 40;

/** So near to the top older messages are fetched, in pixels. */
const TOP_PX = 200;

const NOBODY: readonly Person[] = [];

interface MessageListProps {
  readonly live: LiveChannel;
  readonly reading: Reading;
  readonly threadAddress: (messageId: string) => string;
}

export function MessageList({ live, reading, threadAddress }: MessageListProps) {
  const { messages, hasOlder, channel, me, isConnected } = live;
  const { newAfterId, setAtEnd } = reading;
  const shown = useMemo(() => messages.filter(({ threadId }) => threadId === null), [messages]);
  const replies = useMemo(() => repliesByThread(messages), [messages]);
  const readers = useMemo(() => readersByMessage(live), [live]);
  const box = useRef<HTMLDivElement>(null);
  const [isFailed, setFailed] = useState(false);
  useScrolling(box, shown);

  const loadOlder = (): void => {
    setFailed(false);
    channel.loadOlder().catch(() => setFailed(true));
  };
  const look = (): void => {
    const { current } = box;
    if (current === null) return;
    setAtEnd(isAtEnd(current));
    if (hasOlder && !isFailed && current.scrollTop < TOP_PX) loadOlder();
  };
  useEffect(look);

  const newAt = newAfterId === null ? -1 : firstNew(shown, newAfterId, me?.userId);
  return (
    <div className="messages" ref={box} onScroll={look} data-testid="messages" tabIndex={0} aria-label="Messages">
      {hasOlder && (
        <p className="older soft">
          {isFailed ? (
            <button type="button" className="link" onClick={loadOlder}>
              Older messages
            </button>
          ) : (
            "Older messages…"
          )}
        </p>
      )}
      {shown.length === 0 && <p className="nothing empty">Nothing was said here yet.</p>}
      <ol>
        {shown.map((message, index) => {
          const before = shown[index - 1];
          const isNewDay = before === undefined || dayOf(before.timestamp) !== dayOf(message.timestamp);
          const isFirstNew = index === newAt;
          return (
            <Fragment key={message.key}>
              {isNewDay && (
                <li className="rule" role="separator">
                  <span>{dayOf(message.timestamp)}</span>
                </li>
              )}
              {isFirstNew && (
                <li className="rule new-rule" role="separator" data-testid="new">
                  <span>New</span>
                </li>
              )}
              <Message
                message={message}
                channel={channel}
                isOwn={message.userId === me?.userId}
                isConnected={isConnected}
                isContinued={!isNewDay && !isFirstNew && continues(message, before)}
                threadHref={message.state === "sent" ? threadAddress(message.id) : undefined}
                replies={replies.get(message.id) ?? 0}
                readers={readers.get(message.id) ?? NOBODY}
              />
            </Fragment>
          );
        })}
      </ol>
    </div>
  );
}

function continues(message: ListedMessage, before: ListedMessage | undefined): boolean {
  return before?.userId === message.userId && message.timestamp - before.timestamp < BLOCK_MS;
}

function repliesByThread(messages: readonly ListedMessage[]): ReadonlyMap<string, number> {
  const replies = new Map<string, number>();
  for (const { threadId } of messages) {
    if (threadId !== null) replies.set(threadId, (replies.get(threadId) ?? 0) + 1);
  }
  return replies;
}

/** The first message of somebody else after one; -1 if there is none. Ids rise with time. */
function firstNew(shown: readonly ListedMessage[], afterId: string, me: string | undefined): number {
  const known = shown.findIndex(({ id }) => id === afterId);
  return shown.findIndex(
    ({ id, userId, state }, index) =>
      state === "sent" && userId !== me && (known >= 0 ? index > known : id > afterId),
  );
}

/** Keeps the end in sight of who was at the end, and in place what was in sight when older messages come before it. */
function useScrolling(box: React.RefObject<HTMLDivElement | null>, shown: readonly ListedMessage[]): void {
  const last = useRef({ isAtEnd: true, height: 0, top: 0, firstKey: "" });
  const firstKey = shown[0]?.key ?? "";
  const own = shown.at(-1)?.state === "sending" ? shown.at(-1)?.key : undefined;
  const lastOwn = useRef(own);
  useLayoutEffect(() => {
    const { current } = box;
    if (current === null) return;
    const before = last.current;
    const isOwnNew = own !== undefined && own !== lastOwn.current;
    lastOwn.current = own;
    if (staysAtEnd(current, before) || isOwnNew) current.scrollTop = current.scrollHeight;
    else if (before.firstKey !== firstKey) current.scrollTop = before.top + current.scrollHeight - before.height;
  }, [box, shown, firstKey, own]);
  useEffect(() => {
    const { current } = box;
    if (current === null) return;
    const remember = (): void => {
      last.current = { isAtEnd: isAtEnd(current), height: current.scrollHeight, top: current.scrollTop, firstKey };
    };
    remember();
    // A smaller window, or a keyboard, does not move the end out of sight.
    const resized = new ResizeObserver(() => {
      if (staysAtEnd(current, last.current)) current.scrollTop = current.scrollHeight;
      remember();
    });
    resized.observe(current);
    current.addEventListener("scroll", remember);
    return () => {
      resized.disconnect();
      current.removeEventListener("scroll", remember);
    };
  });
}

/** Whether it was at the end and nobody has scrolled up since: the event of that comes a frame later. */
function staysAtEnd(box: HTMLElement, before: { isAtEnd: boolean; top: number }): boolean {
  return before.isAtEnd && (box.scrollTop >= before.top || isAtEnd(box));
}

function isAtEnd({ scrollHeight, scrollTop, clientHeight }: HTMLElement): boolean {
  return scrollHeight - scrollTop - clientHeight < END_PX;
}
