// What was done to a counter, and two things that are done rarely.

import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";

import { queries } from "../dormouse";
import { useToast } from "../toasts";
import { asChange, inWords, sentence, when } from "../words";

const PAGE_OPERATIONS = 10;

const DONE = { increment: "added", decrement: "taken away", setValue: "set", reset: "reset" } as const;

export function CounterHistory({ name }: { name: string }) {
  const { data, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery(
    queries.pages("counter", name, "getHistory", { limit: PAGE_OPERATIONS }),
  );
  const operations = data?.pages.flatMap((page) => page.operations) ?? [];
  return (
    <section className="history" aria-label={`History of ${name}`}>
      <SetValue name={name} />
      <ol data-testid="history">
        {operations.map(({ offset, type, value, previousValue, timestamp }) => (
          <li key={offset} data-offset={offset}>
            <b>{asChange(value - previousValue)}</b>
            <span className="soft">{DONE[type]}</span>
            <span className="number">{inWords(value)}</span>
            <time className="soft" dateTime={timestamp}>
              {when(timestamp)}
            </time>
          </li>
        ))}
      </ol>
      {data !== undefined && operations.length === 0 && <p className="nothing">Nothing was done yet.</p>}
      {hasNextPage && (
        <button
          type="button"
          className="link"
          disabled={isFetchingNextPage}
          data-testid="older"
          onClick={() => void fetchNextPage()}
        >
          Older
        </button>
      )}
    </section>
  );
}

function SetValue({ name }: { name: string }) {
  const [text, setText] = useState("");
  const toast = useToast();
  const onError = (error: Error): void => toast(sentence(error), true);
  const setValue = useMutation(queries.mutation("counter", name, "setValue"));
  const reset = useMutation(queries.mutation("counter", name, "reset"));
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    const value = Number(text);
    if (text.trim() === "" || !Number.isSafeInteger(value)) toast("Give a whole number.", true);
    else setValue.mutate({ value }, { onError, onSuccess: () => setText("") });
  };
  return (
    <form className="set" onSubmit={submit}>
      <input
        aria-label={`New value of ${name}`}
        inputMode="numeric"
        placeholder="Set to…"
        data-testid="set-value"
        value={text}
        onChange={({ target }) => setText(target.value)}
      />
      <button type="submit" className="button">
        Set
      </button>
      <button type="button" className="button" data-testid="reset" onClick={() => reset.mutate({}, { onError })}>
        Reset
      </button>
    </form>
  );
}
