// Times, names and errors as people read them.

const TIME = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const NAMES = new Intl.ListFormat(undefined, { type: "conjunction" });

/** More names than this are counted. */
const NAMES_MAX = 3;

export function timeOf(timestamp: number): string {
  return TIME.format(timestamp);
}

/** A day, as a heading. */
export function dayOf(timestamp: number): string {
  const date = new Date(timestamp);
  return date.toDateString() === new Date().toDateString() ? "Today" : DAY.format(date);
}

/** “Ann, Ben and 3 others”. */
export function inWords(names: readonly string[]): string {
  if (names.length <= NAMES_MAX) return NAMES.format(names);
  return NAMES.format([...names.slice(0, NAMES_MAX - 1), `${names.length - NAMES_MAX + 1} others`]);
}

export function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** The server writes its messages without a full stop, and some in lower case. */
export function sentence({ message }: Error): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1).replace(/\.$/, "")}.`;
}
