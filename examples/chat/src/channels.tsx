// The channels of this browser, each with what is unread in it.

import { useChannel } from "@dormouse/client/react";
import { type FormEvent, useEffect, useState } from "react";

import { channelAddress } from "./route";

/** Under this the browser remembers its channels. */
const CHANNELS_KEY = "dormouse-chat-channels";

/** Where everybody begins. */
const CHANNELS = ["general", "hazelnuts", "winter plans"];

/** Each channel of the list has a socket. */
const CHANNELS_MAX = 12;

/** What the server takes as an id. */
const ID_CHARS_MAX = 256;

/** More are not counted. */
const UNREAD_SHOWN_MAX = 99;

export function ChannelList({ openId }: { openId: string | null }) {
  const ids = useChannels(openId);
  const [name, setName] = useState("");
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    const id = name.trim();
    if (id === "") return;
    setName("");
    location.hash = channelAddress(id);
  };
  return (
    <nav className="card channels" aria-label="Channels">
      <h2>Channels</h2>
      <ul data-testid="channels">
        {ids.map((id) => (
          <ChannelItem key={id} id={id} isOpen={id === openId} />
        ))}
      </ul>
      <form onSubmit={submit}>
        <label htmlFor="new-channel" className="unseen">
          Name of a channel
        </label>
        <input
          id="new-channel"
          data-testid="new-channel"
          placeholder="Another channel…"
          maxLength={ID_CHARS_MAX}
          autoComplete="off"
          value={name}
          onChange={({ target }) => setName(target.value)}
        />
      </form>
    </nav>
  );
}

function ChannelItem({ id, isOpen }: { id: string; isOpen: boolean }) {
  const { unread, isLoaded } = useChannel(id);
  const count = unread > UNREAD_SHOWN_MAX ? `${UNREAD_SHOWN_MAX}+` : unread;
  return (
    <li data-channel={id} data-unread={isLoaded ? unread : undefined}>
      <a href={channelAddress(id)} aria-current={isOpen ? "page" : undefined}>
        <span>
          <span className="soft">#</span> {id}
        </span>
        {unread > 0 && (
          <b className="badge" aria-label={`${count} unread`}>
            {count}
          </b>
        )}
      </a>
    </li>
  );
}

/** The channels of the list. One that is opened is added; of too many the newest stay. */
function useChannels(openId: string | null): readonly string[] {
  const [own, setOwn] = useState(storedChannels);
  useEffect(() => {
    if (openId !== null) setOwn((ids) => (ids.includes(openId) ? ids : [...ids, openId].slice(-CHANNELS_MAX)));
  }, [openId]);
  useEffect(() => localStorage.setItem(CHANNELS_KEY, JSON.stringify(own)), [own]);
  return own;
}

function storedChannels(): readonly string[] {
  try {
    const ids: unknown = JSON.parse(localStorage.getItem(CHANNELS_KEY) ?? "null");
    return Array.isArray(ids) ? ids.filter((id) => typeof id === "string").slice(-CHANNELS_MAX) : CHANNELS;
  } catch {
    return CHANNELS;
  }
}
