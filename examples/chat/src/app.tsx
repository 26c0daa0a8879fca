import type { ChannelClient } from "@dormouse/client/channel";
import { DormouseProvider } from "@dormouse/client/react";
import { useCallback, useEffect, useMemo, useState } from "react";

import { Avatar } from "./avatar";
import { ChannelList } from "./channels";
import { ChannelBanner, CommonBanner, ConnectionDot } from "./connection";
import { useRoute } from "./route";
import { clientFor, rememberedName, rememberName } from "./session";
import { SignIn } from "./sign_in";
import { TalkPage } from "./talk/page";

export function App() {
  const [name, setName] = useState(rememberedName);
  const client = useMemo(() => (name === null ? null : clientFor(name)), [name]);
  const become = (next: string | null): void => {
    rememberName(next);
    setName(next);
  };
  if (client === null || name === null) return <SignIn onName={become} />;
  return (
    <DormouseProvider client={client}>
      <Chat name={name} client={client} onLeave={() => become(null)} />
    </DormouseProvider>
  );
}

interface ChatProps {
  readonly name: string;
  readonly client: ChannelClient;
  readonly onLeave: () => void;
}

function Chat({ name, client, onLeave }: ChatProps) {
  const { channelId, threadId } = useRoute();
  const retry = useCallback(() => client.reconnect(), [client]);
  useEffect(() => () => client.close(), [client]);
  return (
    <div className="chat" data-open={channelId !== null} data-thread={threadId !== null}>
      <header className="top">
        <a className="brand" href="#/">
          <img src="/dormouse.svg" alt="" width="40" height="34" />
          <span>Chat</span>
        </a>
        <ConnectionDot />
        <span className="me" title={name}>
          <Avatar userId={name.toLowerCase()} username={name} />
          <span data-testid="me">{name}</span>
        </span>
        <button type="button" className="button quiet" data-testid="leave" onClick={onLeave}>
          Leave
        </button>
      </header>
      {channelId === null ? (
        <CommonBanner onRetry={retry} />
      ) : (
        <ChannelBanner key={channelId} channelId={channelId} onRetry={retry} />
      )}
      <div className="columns">
        <ChannelList openId={channelId} />
        {channelId === null ? (
          <p className="card nothing empty">Pick a channel.</p>
        ) : (
          <TalkPage key={channelId} channelId={channelId} threadId={threadId} />
        )}
      </div>
    </div>
  );
}
