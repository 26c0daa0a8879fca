// What both halves of the page show in the same way: connection, errors, questions, times, announcements.

const COUNTDOWN_INTERVAL_MS = 250;

const FLASH_MS = 1_200;

/** Changes that come faster than this are announced as one: the last. */
const ANNOUNCE_INTERVAL_MS = 800;

/** The element with this `data-testid`. The page and its tests find things by the same names. */
export function element(testId) {
  const found = document.querySelector(`[data-testid="${testId}"]`);
  if (found === null) throw new Error(`the page has no ${testId}`);
  return found;
}

/** Makes an element. `children` are elements or strings; a string is never parsed as HTML. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Handles a form's submission. What `submit` throws or rejects with is shown as an error. */
export function onSubmit(testId, submit) {
  element(testId).addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(submit);
  });
}

/** Handles clicks. What `click` throws or rejects with is shown as an error. */
export function onClick(testId, click) {
  element(testId).addEventListener("click", () => attempt(click));
}

export async function attempt(action) {
  try {
    await action();
  } catch (err) {
    showError(err);
  }
}

/** Draws the eye to something that changed elsewhere, for a moment. */
export function flash(changed) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const backgroundColor = ["var(--highlight)", "transparent"];
  changed.animate({ backgroundColor }, { duration: FLASH_MS, easing: "ease-out" });
}

/** Shows the state of a connection; the text of `<prefix>connection-state` is the state's name. */
export class ConnectionStatus {
  #root;
  #name;
  #detail;
  #again;
  #announce;
  #countdown = 0;

  constructor(prefix, { onAgain }) {
    this.#name = element(`${prefix}connection-state`);
    this.#detail = element(`${prefix}connection-detail`);
    this.#again = element(`${prefix}connection-again`);
    this.#root = this.#name.closest(".connection");
    this.#announce = announcer(this.#root.querySelector("[aria-live]"));
    this.#again.addEventListener("click", onAgain);
  }

  show(state) {
    clearInterval(this.#countdown);
    if (this.#name.textContent !== state.name) this.#announce(`${this.#root.dataset.label} ${state.name}`);
    this.#name.textContent = state.name;
    this.#root.dataset.state = state.name;
    this.#again.hidden = state.name !== "closed";
    this.#tell(state);
    if (state.retryAt !== undefined) {
      this.#countdown = setInterval(() => this.#tell(state), COUNTDOWN_INTERVAL_MS);
    }
  }

  #tell({ reason, attempt, retryAt }) {
    const seconds = Math.ceil((retryAt - Date.now()) / 1_000);
    const parts = [
      reason,
      attempt !== undefined && `attempt ${attempt}`,
      seconds > 0 && `in ${seconds} s`,
    ];
    const text = parts.filter(Boolean).join(" · ");
    if (this.#detail.textContent !== text) this.#detail.textContent = text;
  }
}

/** A function that tells a screen reader the newest of what it is given, at a bearable pace. */
export function announcer(liveRegion) {
  let timer = 0;
  let newest = "";
  return (text) => {
    newest = text;
    if (timer !== 0) return;
    timer = setTimeout(() => {
      timer = 0;
      liveRegion.textContent = newest;
    }, ANNOUNCE_INTERVAL_MS);
  };
}

/** Shows what went wrong until it is dismissed or `clearError` says that something went right. */
export function showError(err) {
  // What is not a refusal is a defect of the page: it belongs in the console as well.
  if (err.name !== "CallError") console.error(err);
  element("error").textContent = err.message;
  element("error").closest(".error").hidden = false;
}

export function clearError() {
  element("error").closest(".error").hidden = true;
  element("error").textContent = "";
}

element("error-dismiss").addEventListener("click", clearError);

/** Asks before something is lost. Resolves to whether the person agreed. */
export function confirmed({ question, detail, action }) {
  const dialog = element("confirm");
  element("confirm-question").textContent = question;
  element("confirm-detail").textContent = detail;
  element("confirm-yes").textContent = action;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const answer = () => resolve(dialog.returnValue === "yes");
    dialog.addEventListener("close", answer, { once: true });
  });
}

/** Why no object can have this id, or nothing. */
export function problemOfId(id) {
  const characters = [...id].length;
  if (characters === 0) return "Give it a name first.";
  if (characters > 256) return `A name has at most 256 characters; this one has ${characters}.`;
  if (/\p{Cc}/u.test(id)) return "A name has no control characters.";
  if (/\p{Cs}/u.test(id)) return "This name has half a character in it.";
  if (id === "." || id === "..") return "A browser cannot address “.” or “..”.";
  return undefined;
}

const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const DATE_AND_TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** A `<time>`: the time of day for today, with the date before that. */
export function timeOf(timestamp) {
  const at = new Date(timestamp);
  const format = at.toDateString() === new Date().toDateString() ? TIME : DATE_AND_TIME;
  return make("time", { datetime: timestamp, title: DATE_AND_TIME.format(at) }, format.format(at));
}
