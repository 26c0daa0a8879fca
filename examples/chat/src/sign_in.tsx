// The start page: a name is enough.

import { type FormEvent, useState } from "react";

const NAMES = ["Alice", "Bob", "Carol"];

const NAME_CHARS_MAX = 40;

export function SignIn({ onName }: { onName: (name: string) => void }) {
  const [name, setName] = useState("");
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (name.trim() !== "") onName(name.trim());
  };
  return (
    <main className="sign-in">
      <img src="/dormouse.svg" alt="" width="96" height="80" />
      <h1>Who are you?</h1>
      <p className="soft">Open a second tab and be somebody else there.</p>
      <form onSubmit={submit}>
        <label htmlFor="name" className="unseen">
          Your name
        </label>
        <input
          id="name"
          data-testid="name"
          placeholder="Your name"
          maxLength={NAME_CHARS_MAX}
          autoComplete="off"
          autoFocus
          value={name}
          onChange={({ target }) => setName(target.value)}
        />
        <button type="submit" className="button primary" disabled={name.trim() === ""}>
          Come in
        </button>
      </form>
      <p className="names">
        <span className="soft">or as</span>
        {NAMES.map((each) => (
          <button key={each} type="button" className="button" onClick={() => onName(each)}>
            {each}
          </button>
        ))}
      </p>
    </main>
  );
}
