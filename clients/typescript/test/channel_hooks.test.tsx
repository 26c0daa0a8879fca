// The hooks for channels and presence, in React 18 and 19, with a socket that the test plays.

import { act, type ReactElement, type ReactNode, StrictMode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { type ChannelClient, createClient } from "../src/channel.js";
import { createClient as createCore } from "../src/index.js";
import { DormouseProvider, type LiveChannel, type LivePresence, useChannel, useNoteWebSocket, usePresence } from "../src/react.js";
import { PlayedSocket } from "./played.js";

const BOB = { userId: "bob", username: "Bob" };
const message = (id: string): object => ({ id, channelId: "a", ...BOB, content: id, timestamp: 0 });
const state = (...ids: string[]): object => ({
  type: "initial_state",
  messages: ids.map(message),
  onlineUsers: [BOB],
  epoch: "e1",
  offset: ids.length,
});

let client: ChannelClient;
let root: Root;
let seen: LiveChannel;
let present: LivePresence;

beforeEach(() => {
  globalThis.IS_REACT_ACT_ENVIRONMENT = true;
  vi.useFakeTimers();
  PlayedSocket.all = [];
  client = createClient({ url: "http://server.test", webSocket: PlayedSocket });
  root = createRoot(document.createElement("div"));
});
afterEach(async () => {
  act(() => root.unmount());
  client.close();
  await vi.advanceTimersByTimeAsync(16);
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

async function render(children: ReactNode): Promise<void> {
  await act(async () => {
    root.render(
      <StrictMode>
        <DormouseProvider client={client}>{children}</DormouseProvider>
      </StrictMode>,
    );
    await vi.advanceTimersByTimeAsync(0);
  });
}

async function play(body: (socket: PlayedSocket) => void): Promise<void> {
  await act(async () => {
    body(PlayedSocket.all.at(-1) as PlayedSocket);
    await vi.advanceTimersByTimeAsync(16);
  });
}

function Talk({ id = "a", enabled }: { readonly id?: string; readonly enabled?: boolean }): ReactElement {
  seen = useChannel(id, { enabled });
  return <p>{seen.messages.map(({ content }) => content).join(" ")}</p>;
}

function Viewers(): ReactElement {
  present = usePresence("note", "n");
  return <p>{present.users.map(({ username }) => username).join(" ")}</p>;
}

test("components of one channel share its socket, also in strict mode", async () => {
  await render(
    <>
      <Talk />
      <Talk />
    </>,
  );
  expect(seen).toMatchObject({ status: "connecting", isConnected: false, isConnecting: true, messages: [] });

  await play((socket) => socket.onopen?.());
  await play((socket) => socket.say(state("1", "2")));
  await play((socket) => socket.say({ type: "message", message: message("3"), offset: 3 }));

  expect(PlayedSocket.all.length).toBe(1);
  expect(seen).toMatchObject({ isConnected: true, isConnecting: false, isLoaded: true, unread: 3 });
  expect(seen.messages.map(({ id }) => id)).toEqual(["1", "2", "3"]);
});

test("what a component sends is shown at once", async () => {
  await render(<Talk />);
  await play((socket) => socket.onopen?.());
  await play((socket) => socket.say(state("1")));
  const { send, typing, markRead } = seen;
  await act(async () => {
    typing(true);
    markRead("1");
    void send("hello");
    await vi.advanceTimersByTimeAsync(16);
  });
  expect(seen.messages.at(-1)).toMatchObject({ content: "hello", state: "sending" });
  expect(seen.unread).toBe(0);

  const [{ said } = { said: [] }] = PlayedSocket.all;
  await play((socket) => socket.say({ type: "ack", clientId: said.at(-1)?.["clientId"], messageId: "2", timestamp: 1 }));

  expect(said.map(({ type }) => type)).toEqual(["typing", "read", "message"]);
  expect(seen.messages.at(-1)).toMatchObject({ id: "2", state: "sent" });
});

test("the switch turns it off and on, and what was seen stays", async () => {
  await render(<Talk enabled={false} />);
  expect(PlayedSocket.all.length).toBe(0);
  await render(<Talk enabled />);
  await play((socket) => socket.onopen?.());
  await play((socket) => socket.say(state("1", "2")));

  await render(<Talk enabled={false} />);
  await act(() => vi.advanceTimersByTimeAsync(2_000));

  expect(PlayedSocket.all[0]?.isClosed).toBe(true);
  expect(seen).toMatchObject({ status: "idle", isConnected: false });
  expect(seen.messages.length).toBe(2);
});

test("another id is another channel", async () => {
  await render(<Talk />);
  await play((socket) => socket.onopen?.());
  await play((socket) => socket.say(state("1")));

  await render(<Talk id="b" />);

  expect(seen).toMatchObject({ messages: [], isLoaded: false });
  expect(PlayedSocket.all[1]?.url.pathname).toBe("/ws/channel/b");
  await act(() => vi.advanceTimersByTimeAsync(2_000));
  expect(PlayedSocket.all[0]?.isClosed).toBe(true);
});

test("who is here comes over the object's own connection, and is no event of it", async () => {
  let note: unknown;
  function Note(): null {
    note = useNoteWebSocket("n").note;
    return null;
  }
  await render(
    <>
      <Note />
      <Viewers />
    </>,
  );
  await play((socket) => socket.onopen?.());
  await play((socket) => socket.say({ type: "initial", data: { id: "n" }, epoch: "e1", offset: 1 }));
  await play((socket) => socket.say({ type: "presence_state", users: [BOB] }));

  expect(PlayedSocket.all.filter(({ isClosed }) => !isClosed).length).toBe(1);
  expect(present).toMatchObject({ isConnected: true, total: 1, users: [BOB] });
  expect(note).toEqual({ id: "n" });
});

test("on a server it renders without opening anything", () => {
  const html = renderToString(
    <DormouseProvider client={client}>
      <Talk />
      <Viewers />
    </DormouseProvider>,
  );

  expect(html).toBe("<p></p><p></p>");
  expect(PlayedSocket.all.length).toBe(0);
});

test("with a client that has no channels it says which one has", () => {
  const core = createCore();

  expect(() =>
    renderToString(
      <DormouseProvider client={core}>
        <Talk />
      </DormouseProvider>,
    ),
  ).toThrow("@dormouse/client/channel");
});
