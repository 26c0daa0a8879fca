// What a person is told about the connection.

import type { ConnectionState } from "@dormouse/client";
import { useChannel, useConnection } from "@dormouse/client/react";
import { useEffect, useState } from "react";

import { sentence } from "./words";

const SECOND_MS = 1_000;

const WORDS: Record<ConnectionState["status"], string> = {
  idle: "not live",
  connecting: "connecting",
  connected: "live",
  reconnecting: "reconnecting",
  closed: "closed",
};

/** The state of all connections, in a word. */
export function ConnectionDot() {
  const { status, transport } = useConnection();
  return (
    <span
      className="dot"
      data-status={status}
      data-testid="connection"
      title={status === "connected" ? `by ${transport}` : undefined}
    >
      {WORDS[status]}
    </span>
  );
}

/** The banner of the page while no channel is open. */
export function CommonBanner({ onRetry }: { onRetry: () => void }) {
  return <Banner connection={useConnection()} onRetry={onRetry} />;
}

/** The banner of the channel that is open. The others are tried as soon as it is back. */
export function ChannelBanner({ channelId, onRetry }: { channelId: string; onRetry: () => void }) {
  const live = useChannel(channelId);
  const { isConnected } = live;
  useEffect(() => {
    if (isConnected) onRetry();
  }, [isConnected, onRetry]);
  return <Banner connection={live} onRetry={onRetry} />;
}

/** Says that what is shown may be old, why, and what becomes of what is written now. */
function Banner({ connection, onRetry }: { connection: ConnectionState; onRetry: () => void }) {
  const { status, error, retryAt } = connection;
  const secondsLeft = useCountdown(retryAt);
  if (status !== "reconnecting" && status !== "closed") return null;
  const isClosed = status === "closed";
  const when = secondsLeft > 0 ? `Trying again in ${secondsLeft} s.` : "Trying again…";
  return (
    <div className="banner" role="status" data-testid="banner" data-status={status}>
      <p>
        <strong>{isClosed ? "Not connected" : "Connection lost"}</strong>
        {error !== null && <span> · {sentence(error)}</span>}
        {!isClosed && <span> What you write now is sent when it is back.</span>}
        {!isClosed && <span className="soft"> {when}</span>}
      </p>
      <button type="button" className="button" onClick={onRetry}>
        Try now
      </button>
    </div>
  );
}

/** Whole seconds until then; 0 if it has passed or there is no such time. */
function useCountdown(until: Date | null): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (until === null) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), SECOND_MS / 4);
    return () => clearInterval(timer);
  }, [until]);
  return until === null ? 0 : Math.max(0, Math.ceil((until.getTime() - now) / SECOND_MS));
}
