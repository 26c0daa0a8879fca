// The page at `/`: one counter and one note, live. Open it in two tabs.

import { CounterView } from "./page/counter.js";
import { NoteView } from "./page/note.js";
import { attempt, element } from "./page/screen.js";
import { onToken } from "./page/token.js";

const COUNTER_DEFAULT = "my-counter";
const NOTE_DEFAULT = "my-note";

const asked = new URLSearchParams(location.search);
const shown = {
  counter: asked.get("counter") || COUNTER_DEFAULT,
  // An empty id is a new note, so only a missing one has a default.
  note: asked.get("note") ?? NOTE_DEFAULT,
};

/** Keeps the address such that it leads back here, and to the same things in a second tab. */
function remember(opened) {
  Object.assign(shown, opened);
  const address = `?${new URLSearchParams(shown)}`;
  history.replaceState(null, "", address);
  element("second-tab").href = address;
}

const counter = new CounterView({ onOpened: (name) => remember({ counter: name }) });
const note = new NoteView({ onOpened: (id) => remember({ note: id }) });
onToken(() => {
  counter.again();
  note.again();
});
attempt(() => counter.open(shown.counter));
attempt(() => note.open(shown.note));
