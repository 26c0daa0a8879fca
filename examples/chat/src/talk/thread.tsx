// A thread, beside the channel; on a phone a sheet over it.

import type { ChannelMessage } from "@dormouse/client";
import type { Channel, ListedMessage } from "@dormouse/client/channel";
import type { LiveChannel } from "@dormouse/client/react";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";

import { channelAddress } from "../route";
import { sentence } from "../words";
import { Composer } from "./composer";
import { Message } from "./message";

/** As many as the server gives at once. */
const PAGE_MESSAGES = 200;

/** Longer threads are shown from the beginning; what is said now is shown too. */
const THREAD_MESSAGES_MAX = 1_000;

export function Thread({ live, threadId }: { live: LiveChannel; threadId: string }) {
  const { channel, isLoaded, me, isConnected } = live;
  const close = channelAddress(channel.id);
  const [{ stored, error }, setFetched] = useState<Fetched>(NOTHING_FETCHED);
  useEffect(() => {
    setFetched(NOTHING_FETCHED);
    if (!isLoaded) return;
    const ending = new AbortController();
    wholeThread(channel, threadId, ending.signal).then(
      (stored) => setFetched({ stored, error: null }),
      (err: Error) => {
        if (!ending.signal.aborted) setFetched({ stored: [], error: err });
      },
    );
    return () => ending.abort();
  }, [channel, threadId, isLoaded]);
  useEffect(() => {
    const onKeyDown = ({ key }: KeyboardEvent): void => {
      if (key === "Escape") location.hash = close;
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, [close]);

  const messages = useMemo(() => together(stored, live.messages, threadId), [stored, live.messages, threadId]);
  const end = useRef<HTMLLIElement>(null);
  const lastKey = messages.at(-1)?.key;
  useLayoutEffect(() => {
    void end.current?.scrollIntoView({ block: "nearest" });
  }, [lastKey]);
  return (
    <>
      <a className="backdrop" href={close} aria-label="Close the thread" tabIndex={-1} />
      <aside className="card thread" aria-label="Thread" data-testid="thread">
        <header>
          <h2>Thread</h2>
          <a className="icon" href={close} aria-label="Close the thread" data-testid="thread-close">
            ×
          </a>
        </header>
        {error !== null && <p className="nothing">{sentence(error)}</p>}
        <ol className="messages">
          {messages.map((message) => (
            <Message
              key={message.key}
              message={message}
              channel={channel}
              isOwn={message.userId === me?.userId}
              isConnected={isConnected}
              isContinued={false}
            />
          ))}
          <li ref={end} />
        </ol>
        <Composer live={live} label="Reply" threadId={threadId} />
      </aside>
    </>
  );
}

interface Fetched {
  readonly stored: readonly ChannelMessage[];
  readonly error: Error | null;
}

const NOTHING_FETCHED: Fetched = { stored: [], error: null };

/** The beginning of a thread, or all of it. */
async function wholeThread(channel: Channel, threadId: string, signal: AbortSignal): Promise<readonly ChannelMessage[]> {
  const all: ChannelMessage[] = [];
  let after: string | undefined;
  do {
    const page = { limit: PAGE_MESSAGES, ...(after !== undefined && { after }) };
    const { messages, next } = await channel.thread(threadId, page, { signal });
    all.push(...messages);
    after = next;
  } while (after !== undefined && all.length < THREAD_MESSAGES_MAX);
  return all;
}

/** What the server said of a thread, and what was said since. */
function together(
  stored: readonly ChannelMessage[],
  listed: readonly ListedMessage[],
  threadId: string,
): readonly ListedMessage[] {
  const live = listed.filter((message) => message.id === threadId || message.threadId === threadId);
  const known = new Set(live.map(({ id }) => id));
  const older = stored
    .filter(({ id }) => !known.has(id))
    .map((message): ListedMessage => ({ ...message, key: message.id, threadId, state: "sent", error: null }));
  return [...older, ...live];
}
