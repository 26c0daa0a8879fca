// The hooks, in React 18 and 19, with a socket that the test plays.

import { act, type ReactElement, type ReactNode, StrictMode, version } from "react";
import { createRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { type Client, createClient } from "../src/index.js";
import {
  type CounterWebSocket,
  DormouseProvider,
  type NoteWebSocket,
  useConnection,
  useCounterWebSocket,
  useNoteWebSocket,
} from "../src/react.js";
import { PlayedSocket } from "./played.js";

declare global {
  var IS_REACT_ACT_ENVIRONMENT: boolean;
}

const NOW = "2025-01-15T12:00:00.000Z";
const metadata = (value: number): object => ({
  id: 1,
  name: "a",
  value,
  createdAt: NOW,
  updatedAt: NOW,
  operationCount: value,
});
const initial = (value: number): object => ({
  type: "initial",
  value,
  metadata: metadata(value),
  timestamp: NOW,
  epoch: "e1",
  offset: value,
});
const increment = (value: number): object => ({
  type: "increment",
  value,
  previousValue: value - 1,
  metadata: metadata(value),
  timestamp: NOW,
  offset: value,
});

let client: Client;
let root: Root;
let seen: CounterWebSocket;

beforeEach(() => {
  globalThis.IS_REACT_ACT_ENVIRONMENT = true;
  vi.useFakeTimers();
  PlayedSocket.all = [];
  client = createClient({
    url: "http://server.test",
    webSocket: PlayedSocket,
    fetch: () => Promise.reject(new TypeError("away")),
  });
  root = createRoot(document.createElement("div"));
});
afterEach(() => {
  act(() => root.unmount());
  client.close();
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
    await vi.advanceTimersByTimeAsync(0);
  });
}

async function pass(ms: number): Promise<void> {
  await act(() => vi.advanceTimersByTimeAsync(ms));
}

interface CounterProps {
  readonly name?: string;
  readonly enabled?: boolean;
  readonly onUpdate?: (update: {
    readonly type: string;
    readonly value: number;
    readonly previousValue: number;
  }) => void;
  readonly reconnectInterval?: number;
}

function Counter({ name = "a", ...options }: CounterProps): ReactElement {
  seen = useCounterWebSocket(name, options);
  return <p>{seen.value}</p>;
}

test("this is the React that it should be", () => {
  expect(version.split(".")[0]).toBe(process.env["REACT_MAJOR"]);
});

test("a component watches through one socket, also in strict mode", async () => {
  await render(
    <>
      <Counter />
      <Counter />
    </>,
  );
  expect(PlayedSocket.all.length).toBe(1);
  expect(seen).toMatchObject({
    status: "connecting",
    isConnected: false,
    isConnecting: true,
    error: null,
    lastUpdate: null,
    value: undefined,
  });

  await play((socket) => socket.onopen?.());
  await play((socket) => socket.say(initial(41)));
  await play((socket) => socket.say(increment(42)));

  expect(seen).toMatchObject({ isConnected: true, isConnecting: false, value: 42, metadata: { operationCount: 42 } });
  expect(seen.lastUpdate).toBeInstanceOf(Date);
  expect(PlayedSocket.all.length).toBe(1);
});

test("changes are told once each, and the past is not told as news", async () => {
  const first: number[] = [];
  const second: number[] = [];
  await render(<Counter onUpdate={({ value }) => first.push(value)} />);
  await play((socket) => socket.onopen?.());
  await play((socket) => {
    socket.say(initial(1));
    socket.say(increment(2));
  });

  await render(
    <>
      <Counter onUpdate={({ value }) => first.push(value)} />
      <Counter onUpdate={({ value }) => second.push(value)} />
    </>,
  );
  expect(seen.value).toBe(2);
  await play((socket) => socket.say(increment(3)));

  expect(first).toEqual([2, 3]);
  expect(second).toEqual([3]);
});

test("what was missed while the connection was away is told", async () => {
  const told: string[] = [];
  await render(
    <Counter onUpdate={({ type, previousValue, value }) => told.push(`${type}: ${previousValue} → ${value}`)} />,
  );
  await play((socket) => socket.onopen?.());
  await play((socket) => socket.say(initial(1)));
  await play((socket) => socket.onclose?.({ code: 1006, reason: "" }));
  expect(seen).toMatchObject({ status: "reconnecting", isConnecting: true, value: 1, error: { code: "CLOSED" } });

  await pass(250);
  await play((socket) => socket.onopen?.());
  await play((socket) => {
    socket.say({ type: "resumed", epoch: "e1", offset: 2, replayed: 1 });
    socket.say(increment(2));
  });

  expect(PlayedSocket.all[1]?.query).toEqual({ since: "1", epoch: "e1" });
  expect(told).toEqual(["increment: 1 → 2"]);
  expect(seen).toMatchObject({ isConnected: true, error: null, value: 2 });
});

test("the switch turns it off and on", async () => {
  await render(<Counter enabled={false} />);
  expect(PlayedSocket.all.length).toBe(0);
  expect(seen).toMatchObject({ status: "idle", isConnected: false, isConnecting: false });

  await render(<Counter enabled />);
  await play((socket) => socket.onopen?.());
  await play((socket) => socket.say(initial(5)));
  await render(<Counter enabled={false} />);
  await pass(1_000);
  expect(PlayedSocket.all[0]?.isClosed).toBe(true);
  expect(seen).toMatchObject({ status: "idle", value: 5 });

  await render(<Counter enabled />);
  expect(PlayedSocket.all.length).toBe(2);
  expect(PlayedSocket.all[1]?.query).toEqual({});
});

test("unmounting ends the socket, and leaves no timer and no listener", async () => {
  const added = vi.spyOn(window, "addEventListener");
  await render(<Counter />);
  const signals = added.mock.calls.map(([, , options]) => (options as AddEventListenerOptions).signal);
  await play((socket) => socket.onopen?.());

  await render(<></>);
  await pass(1_000);

  expect(PlayedSocket.all[0]?.isClosed).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
  expect(signals.length).toBeGreaterThan(0);
  expect(signals.every((signal) => signal?.aborted)).toBe(true);
  added.mockRestore();
});

test("another name is another object, whose value is not yet known", async () => {
  await render(<Counter name="a" />);
  await play((socket) => socket.onopen?.());
  await play((socket) => socket.say(initial(7)));

  await render(<Counter name="b" />);

  expect(seen).toMatchObject({ value: undefined, status: "connecting" });
  expect(PlayedSocket.all[1]?.url.pathname).toBe("/ws/counter/b");
});

test("a fixed reconnect interval replaces the back-off", async () => {
  await render(<Counter reconnectInterval={3_000} />);
  for (let failure = 1; failure <= 3; failure += 1) {
    await play((socket) => socket.onopen?.());
    await play((socket) => socket.onclose?.({ code: 1006, reason: "" }));
    await pass(2_999);
    expect(PlayedSocket.all.length).toBe(failure);
    await pass(1);
    expect(PlayedSocket.all.length).toBe(failure + 1);
  }
});

test("a note is unknown, there, or deleted", async () => {
  let note: NoteWebSocket | undefined;
  function Note(): null {
    note = useNoteWebSocket("n");
    return null;
  }
  const data = { id: "n", version: 1, title: "t", blob: "", createdAt: NOW, updatedAt: NOW };
  await render(<Note />);
  await play((socket) => socket.onopen?.());
  expect(note?.note).toBe(undefined);

  await play((socket) => socket.say({ type: "create", data, epoch: "e1", offset: 1 }));
  expect(note?.note).toEqual(data);
  await play((socket) => socket.say({ type: "delete", data: { id: "n" }, offset: 2 }));

  expect(note?.note).toBe(null);
});

test("a banner sees the connection that needs attention most", async () => {
  const states: string[] = [];
  function Banner(): null {
    states.push(useConnection().status);
    return null;
  }
  await render(
    <>
      <Banner />
      <Counter />
    </>,
  );
  await play((socket) => socket.onopen?.());
  await play((socket) => socket.onclose?.({ code: 1008, reason: "" }));

  expect([...new Set(states)]).toEqual(["idle", "connecting", "connected", "closed"]);
});

test("on a server it renders without opening anything", () => {
  const html = renderToString(
    <DormouseProvider client={client}>
      <Counter />
    </DormouseProvider>,
  );

  expect(html).toBe("<p></p>");
  expect(PlayedSocket.all.length).toBe(0);
});

test("without a provider it says what is missing", () => {
  expect(() => renderToString(<Counter />)).toThrow("<DormouseProvider");
});
