// Numbers, times and errors as people read them.

const NUMBER = new Intl.NumberFormat();
const CHANGE = new Intl.NumberFormat(undefined, { signDisplay: "exceptZero" });
const TIME = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

export function inWords(value: number): string {
  return NUMBER.format(value);
}

export function asChange(difference: number): string {
  return CHANGE.format(difference).replace("-", "−");
}

/** A time of today as a time, an older one as a day. */
export function when(timestamp: string): string {
  const date = new Date(timestamp);
  return (date.toDateString() === new Date().toDateString() ? TIME : DAY).format(date);
}

/** The server writes its messages in lower case and without a full stop. */
export function sentence({ message }: Error): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1).replace(/\.$/, "")}.`;
}
