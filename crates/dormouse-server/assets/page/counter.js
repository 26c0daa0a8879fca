// The counter's half of the page.

import { CallError } from "./call_error.js";
import { Connection } from "./connection.js";
import { History } from "./history.js";
import { mutate, query } from "./rpc.js";
import {
  ConnectionStatus, announcer, clearError, element, flash, make, onClick, onSubmit, problemOfId,
  showError, timeOf,
} from "./screen.js";

/** What the history says, by the type of the operation. */
const VERBS = { increment: "added", decrement: "subtracted", setValue: "set", reset: "reset" };

export class CounterView {
  #name = "";
  #connection = null;
  #onOpened;
  #origins = null;

  /** How many operations the shown value is the outcome of; -1 while nothing is known. */
  #operationCount = -1;

  #status = new ConnectionStatus("", { onAgain: () => this.again() });
  #announce = announcer(element("counter-announcement"));
  #history = new History({
    list: element("counter-history"),
    older: element("counter-older"),
    empty: element("counter-history-empty"),
    read: async (before, limit) => {
      const input = { name: this.#name, before, limit };
      const { operations, next } = await query("counter.getHistory", input);
      return { items: operations, next };
    },
    rowOf: operationRow,
    numberOf: ({ offset }) => offset,
  });

  /** `onOpened(name)` is told which counter is shown. */
  constructor({ onOpened }) {
    this.#onOpened = onOpened;
    onSubmit("counter-form", () => this.open(element("counter-name").value));
    onSubmit("counter-step-form", () => this.#step("increment"));
    onClick("counter-decrement", () => this.#step("decrement"));
    onSubmit("counter-set-form", () => {
      return this.#change("setValue", { value: wholeNumber("counter-set-value") });
    });
    onClick("counter-reset", () => this.#change("reset", {}));
  }

  /** Leaves the counter that is shown and attaches to this one. */
  open(name) {
    const problem = problemOfId(name);
    if (problem !== undefined) throw new CallError(problem);
    clearError();
    this.#connection?.stop();
    this.#name = name;
    element("counter-name").value = name;
    this.#forget();
    showValue("–");
    element("counter-metadata").replaceChildren("\u00a0");
    this.#onOpened(name);
    this.#connection = new Connection("counter", name, {
      onState: (state) => this.#status.show(state),
      onFrame: (frame) => this.#received(frame),
    });
    this.#connection.start();
  }

  /** Connects once more, as somebody else perhaps. */
  again() {
    this.#connection?.again();
  }

  #received(frame) {
    switch (frame.type) {
      case "initial":
        this.#forget();
        this.#show(frame);
        this.#history.load().catch(showError);
        break;
      case "increment":
      case "decrement":
      case "setValue":
      case "reset":
        this.#show(frame);
        this.#origins.seen(frame.metadata.operationCount);
        this.#history.add(frame);
        break;
      case "error":
        showError(new CallError(frame.message));
        break;
    }
  }

  #step(method) {
    return this.#change(method, { amount: wholeNumber("counter-amount") });
  }

  async #change(method, input) {
    const name = this.#name;
    const result = await this.#origins.own(mutate(`counter.${method}`, { name, ...input }));
    clearError();
    // Without a socket the result is the only news. With one, the event was here first, or will be.
    const isNews = result.metadata.operationCount > this.#operationCount;
    if (name === this.#name && isNews) this.#show(result);
  }

  #show({ value, metadata }) {
    // After a reconnect, replayed events can be older than the result of a call.
    if (metadata.operationCount < this.#operationCount) return;
    if (value !== this.#shownValue()) this.#announce(`${this.#name} is ${value}`);
    this.#operationCount = metadata.operationCount;
    showValue(String(value));
    document.title = `${value} · ${this.#name} · Dormouse`;

    const { operationCount, updatedAt } = metadata;
    const operations = `${operationCount} ${operationCount === 1 ? "operation" : "operations"}`;
    const facts = operationCount === 0
      ? ["No operations yet"]
      : [operations, " · last at ", timeOf(updatedAt), make("span", { class: "origin" })];
    element("counter-metadata").replaceChildren(...facts);
  }

  #shownValue() {
    return Number(element("counter-value").textContent);
  }

  #showOrigin(isOwn) {
    const origin = element("counter-metadata").querySelector(".origin");
    if (origin !== null) origin.textContent = isOwn ? " · by this tab" : " · from elsewhere";
    if (!isOwn) flash(element("counter-value"));
  }

  #forget() {
    // Calls that are still under way report to the old one, which nobody hears any more.
    const origins = new Origins((isOwn) => {
      if (this.#origins === origins) this.#showOrigin(isOwn);
    });
    this.#origins = origins;
    this.#operationCount = -1;
    this.#history.clear();
  }
}

/**
 * Tells this tab's own changes from those made elsewhere. An event may come before or after the result
 * of the call that caused it, so while calls are under way an event's origin can be open.
 */
class Origins {
  #tell;
  #calls = 0;
  #own = new Set();
  #open = new Set();

  constructor(tell) {
    this.#tell = tell;
  }

  /** Waits for a call of this tab and remembers its operation as one's own. */
  async own(call) {
    this.#calls += 1;
    try {
      const result = await call;
      const { operationCount } = result.metadata;
      if (this.#open.delete(operationCount)) this.#tell(true);
      else this.#own.add(operationCount);
      return result;
    } finally {
      this.#calls -= 1;
      if (this.#calls === 0 && this.#open.size > 0) {
        this.#open.clear();
        this.#tell(false);
      }
    }
  }

  /** An event arrived: tells its origin now, or when the calls under way have their results. */
  seen(operationCount) {
    if (this.#own.delete(operationCount)) this.#tell(true);
    else if (this.#calls > 0) this.#open.add(operationCount);
    else this.#tell(false);
  }
}

function operationRow({ offset, type, value, previousValue, timestamp }) {
  // Two values may be further apart than a number holds exactly.
  const difference = grouped(BigInt(value) - BigInt(previousValue));
  const change = difference.startsWith("−") ? difference : `+${difference}`;
  return make(
    "li",
    { "data-offset": offset },
    make("span", { class: "change", "data-type": type }, change),
    make("span", { class: "verb" }, VERBS[type] ?? type),
    make("span", { class: "outcome" }, grouped(value)),
    timeOf(timestamp),
  );
}

/** A number for people: with separators, and a minus sign as wide as a plus. */
function grouped(number) {
  return number.toLocaleString().replace("-", "−");
}

/** Digits stand in groups of three by style alone: the text stays the number. */
function showValue(text) {
  const groups = text.match(/-?\d{1,3}(?=(\d{3})*$)/g) ?? [text];
  const shown = element("counter-value");
  shown.dataset.length = text.length > 12 ? "long" : text.length > 6 ? "medium" : "short";
  shown.replaceChildren(...groups.map((group) => make("span", {}, group)));
}

/** The whole number in a field; throws what a person is told otherwise. */
function wholeNumber(testId) {
  const text = element(testId).value.trim();
  const number = Number(text);
  if (text === "" || !Number.isInteger(number)) throw new CallError("Give a whole number.");
  if (!Number.isSafeInteger(number)) {
    throw new CallError("Numbers here stay within ±9,007,199,254,740,991.");
  }
  return number;
}
