// One channel: what is said, who is here, and the thread that is open.

import { useChannel } from "@dormouse/client/react";
import { useEffect } from "react";

import { Avatar } from "../avatar";
import { channelAddress } from "../route";
import { counted, sentence } from "../words";
import { Composer } from "./composer";
import { MessageList } from "./messages";
import { useAway, useReading, useReceipts } from "./reading";
import { Thread } from "./thread";

/** More faces do not fit the heading. */
const FACES_MAX = 5;

export function TalkPage({ channelId, threadId }: { channelId: string; threadId: string | null }) {
  const live = useChannel(channelId);
  const { onlineUsers, onlineTotal, isLoaded, status, error } = live;
  const reading = useReading(live);
  useAway(live);
  useReceipts(live);
  useEffect(() => {
    const title = document.title;
    document.title = `#${channelId} · Chat`;
    return () => {
      document.title = title;
    };
  }, [channelId]);

  return (
    <>
      <section className="card talk" data-talk={channelId} data-status={status} aria-label={channelId}>
        <header>
          <a className="back" href="#/" aria-label="All channels">
            ‹
          </a>
          <h2 title={channelId}>
            <span className="soft">#</span> {channelId}
          </h2>
          <p className="faces" data-testid="online-count" title={onlineUsers.map(({ username }) => username).join(", ")}>
            {onlineUsers.slice(0, FACES_MAX).map((user) => (
              <Avatar key={user.userId} {...user} />
            ))}
            <span className="soft">{isLoaded ? `${onlineTotal} here` : ""}</span>
          </p>
        </header>
        {!isLoaded && (
          <p className="nothing empty">{status === "closed" ? (error === null ? "Not connected." : sentence(error)) : "Opening…"}</p>
        )}
        {isLoaded && <MessageList live={live} reading={reading} threadAddress={(id) => channelAddress(channelId, id)} />}
        <Typists live={live} />
        <Composer live={live} label={`Message #${channelId}`} onSent={reading.forgetMarker} />
      </section>
      {threadId === null ? <People live={live} /> : <Thread live={live} threadId={threadId} />}
    </>
  );
}

function People({ live: { onlineUsers, onlineTotal, me } }: { live: ReturnType<typeof useChannel> }) {
  const unnamed = onlineTotal - onlineUsers.length;
  return (
    <aside className="card people" aria-label="Who is here">
      <h2>Here now</h2>
      <ul data-testid="people">
        {onlineUsers.map((user) => (
          <li key={user.userId} data-user={user.userId} data-status={user.status ?? "here"}>
            <Avatar {...user} />
            <span>
              {user.username}
              {user.userId === me?.userId && <span className="soft"> (you)</span>}
            </span>
            {user.status === "away" && <span className="soft">away</span>}
          </li>
        ))}
      </ul>
      {unnamed > 0 && <p className="soft">and {counted(unnamed, "other", "others")}</p>}
    </aside>
  );
}

/** Who is writing. Its line is always there: nothing moves when somebody begins. */
function Typists({ live: { typingUsers } }: { live: ReturnType<typeof useChannel> }) {
  const names = typingUsers.map(({ username }) => username);
  return (
    <p className="typists soft" data-testid="typing" aria-live="polite">
      {names.length > 0 && (
        <>
          <span className="dots" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          {names.length > 2 ? "Several people are writing" : `${names.join(" and ")} ${names.length > 1 ? "are" : "is"} writing`}
        </>
      )}
    </p>
  );
}
