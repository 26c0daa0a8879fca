// The counter that every peer serves: the same addresses, the same JSON, about the same bytes on the
// wire, so that one client drives them all. A peer adds only its transport and its storage.

/** Path prefix of a counter's socket; the rest of the path is the counter's name. */
export const SOCKET_PREFIX = "/ws/counter/";

/** Path of the one mutation: `POST`, body `{"name", "amount"?}`. */
export const INCREMENT_PATH = "/rpc/counter.increment";

/** Path of the one query: `GET ?input={"name"}`. */
export const GET_VALUE_PATH = "/rpc/counter.getValue";

/** A counter that nobody has changed yet. */
export function newCounter(name) {
  const now = new Date().toISOString();
  return { name, value: 0, createdAt: now, updatedAt: now, operationCount: 0 };
}

/** Adds `amount` and returns the event as JSON: what sockets receive and what the caller is answered. */
export function increment(counter, amount) {
  const previousValue = counter.value;
  const timestamp = new Date().toISOString();
  counter.value += amount;
  counter.updatedAt = timestamp;
  counter.operationCount += 1;
  const { value } = counter;
  return JSON.stringify({
    type: "increment",
    value,
    previousValue,
    metadata: metadata(counter),
    timestamp,
    offset: counter.operationCount,
  });
}

/** The first frame of a socket. */
export function initial(counter) {
  const timestamp = new Date().toISOString();
  return JSON.stringify({
    type: "initial",
    value: counter.value,
    metadata: metadata(counter),
    timestamp,
    offset: counter.operationCount,
  });
}

/** Wraps JSON text in the answer of a call. */
export function result(json) {
  return `{"result":{"data":${json}}}`;
}

/** The counter's name in a query's `input`. */
export function queriedName(url) {
  return JSON.parse(new URL(url, "http://localhost").searchParams.get("input")).name;
}

function metadata({ name, value, createdAt, updatedAt, operationCount }) {
  return { id: 1, name, value, createdAt, updatedAt, operationCount };
}
