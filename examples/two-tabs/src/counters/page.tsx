// The board of counters.

import { type FormEvent, useState } from "react";

import { useBoard } from "../route";
import { CounterCard } from "./card";

/** What the server takes as a name. */
const NAME_CHARS_MAX = 256;

export function CountersPage() {
  const [names, change] = useBoard();
  const [name, setName] = useState("");
  const add = (event: FormEvent): void => {
    event.preventDefault();
    const added = name.trim();
    if (added === "") return;
    change([added, ...names.filter((each) => each !== added)]);
    setName("");
  };
  return (
    <>
      <form className="new" onSubmit={add}>
        <label htmlFor="new-counter" className="unseen">
          Name of a counter
        </label>
        <input
          id="new-counter"
          data-testid="new-counter"
          placeholder="Count something else…"
          maxLength={NAME_CHARS_MAX}
          value={name}
          onChange={({ target }) => setName(target.value)}
          autoComplete="off"
        />
        <button type="submit" className="button primary" disabled={name.trim() === ""}>
          Add
        </button>
      </form>
      {names.length === 0 && <p className="nothing">Nothing is counted here. Give it a name above.</p>}
      <ul className="board">
        {names.map((each) => (
          <CounterCard key={each} name={each} onRemove={() => change(names.filter((other) => other !== each))} />
        ))}
      </ul>
    </>
  );
}
