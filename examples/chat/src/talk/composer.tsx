// Where messages are written. Enter sends, with Shift it begins a line.

import type { LiveChannel } from "@dormouse/client/react";
import { type FormEvent, type KeyboardEvent, useState } from "react";

interface ComposerProps {
  readonly live: LiveChannel;
  readonly label: string;
  readonly threadId?: string;
  readonly onSent?: () => void;
}

export function Composer({ live: { send, typing }, label, threadId, onSent }: ComposerProps) {
  const [text, setText] = useState("");
  const isEmpty = text.trim() === "";
  const change = (next: string): void => {
    setText(next);
    typing(next.trim() !== "");
  };
  const submit = (event?: FormEvent): void => {
    event?.preventDefault();
    if (isEmpty) return;
    // Whether it fails is shown at the message.
    void send(text.trim(), { threadId });
    setText("");
    onSent?.();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    submit();
  };
  return (
    <form className="composer" onSubmit={submit}>
      <textarea
        aria-label={label}
        placeholder={label}
        rows={1}
        data-testid={threadId === undefined ? "composer" : "thread-composer"}
        value={text}
        onChange={({ target }) => change(target.value)}
        onKeyDown={onKeyDown}
        onBlur={() => typing(false)}
      />
      <button type="submit" className="button primary" disabled={isEmpty}>
        Send
      </button>
    </form>
  );
}
