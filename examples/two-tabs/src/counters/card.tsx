// One counter: its value, its buttons, its switch.

import { type CounterUpdate, useCounterWebSocket } from "@dormouse/client/react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { queries, useFollow } from "../dormouse";
import { Switch } from "../switch";
import { useToast } from "../toasts";
import { Viewers } from "../viewers";
import { asChange, inWords, sentence } from "../words";
import { CounterHistory } from "./history";
import { Sparkline } from "./sparkline";

const STEPS = [1, 10, 100];

/** Longer numbers are written smaller. */
const LARGE_CHARS_MAX = 7;

export function CounterCard({ name, onRemove }: { name: string; onRemove: () => void }) {
  const [isLive, setLive] = useState(true);
  const [step, setStep] = useState(1);
  const [isOpen, setOpen] = useState(false);
  const toast = useToast();
  const cache = useQueryClient();

  const onUpdate = ({ previousValue, value }: CounterUpdate): void => {
    // Whoever presses a button here sees what it does.
    if (cache.isMutating({ mutationKey: [["counter"], { name }] }) > 0) return;
    toast(`${name}: ${inWords(previousValue)} → ${inWords(value)} (${asChange(value - previousValue)})`);
  };
  const { status, lastUpdate } = useCounterWebSocket(name, { enabled: isLive, onUpdate });
  useFollow("counter", name, isLive);
  const value = useQuery(queries.query("counter", name, "getValue")).data?.value;

  const onError = (error: Error): void => toast(sentence(error), true);
  const increment = useMutation(queries.mutation("counter", name, "increment"));
  const decrement = useMutation(queries.mutation("counter", name, "decrement"));
  const text = value === undefined ? "–" : inWords(value);

  return (
    <li className="card counter" data-counter={name} data-status={status}>
      <header>
        <h2 title={name}>{name}</h2>
        <Viewers kind="counter" id={name} isOn={isLive} />
        <Switch label="Live" isOn={isLive} onChange={setLive} testId="live" />
        <button type="button" className="icon" aria-label={`Take ${name} off the board`} onClick={onRemove}>
          ×
        </button>
      </header>
      <p className={text.length > LARGE_CHARS_MAX ? "value long" : "value"}>
        <output key={text} data-testid="value">
          {text}
        </output>
      </p>
      <Sparkline name={name} />
      <div className="step" role="radiogroup" aria-label="Step">
        {STEPS.map((each) => (
          <button key={each} type="button" role="radio" aria-checked={each === step} onClick={() => setStep(each)}>
            {each}
          </button>
        ))}
      </div>
      <div className="buttons">
        <button
          type="button"
          className="button large"
          aria-label={`${name} minus ${step}`}
          data-testid="decrement"
          onClick={() => decrement.mutate({ amount: step }, { onError })}
        >
          −
        </button>
        <button
          type="button"
          className="button primary large"
          aria-label={`${name} plus ${step}`}
          data-testid="increment"
          onClick={() => increment.mutate({ amount: step }, { onError })}
        >
          +
        </button>
      </div>
      <footer>
        <button
          type="button"
          className="link"
          aria-expanded={isOpen}
          data-testid="toggle-history"
          onClick={() => setOpen(!isOpen)}
        >
          {isOpen ? "Hide history" : "History"}
        </button>
        <span className="soft" data-testid="last-update">
          {isLive ? lastUpdate !== null && `updated ${lastUpdate.toLocaleTimeString()}` : "not live"}
        </span>
      </footer>
      {isOpen && <CounterHistory name={name} />}
    </li>
  );
}
