// Short messages that go by themselves.

import { createContext, type ReactNode, useCallback, useContext, useRef, useState } from "react";

/** How long a message stays, in milliseconds. */
const TOAST_MS = 4_000;

/** More at once nobody reads: the oldest goes. */
const TOASTS_MAX = 3;

interface Toast {
  readonly key: number;
  readonly text: string;
  readonly isError: boolean;
}

type Show = (text: string, isError?: boolean) => void;

const ToastContext = createContext<Show>(() => {});

/** Shows a message. */
export function useToast(): Show {
  return useContext(ToastContext);
}

export function ToastProvider({ children }: { children: ReactNode }) {
  const [toasts, setToasts] = useState<readonly Toast[]>([]);
  const lastKey = useRef(0);
  const show = useCallback<Show>((text, isError = false) => {
    const key = (lastKey.current += 1);
    setToasts((present) => [...present.slice(1 - TOASTS_MAX), { key, text, isError }]);
    setTimeout(() => setToasts((present) => present.filter((toast) => toast.key !== key)), TOAST_MS);
  }, []);
  return (
    <ToastContext value={show}>
      {children}
      <ol className="toasts" role="log" aria-live="polite" data-testid="toasts">
        {toasts.map(({ key, text, isError }) => (
          <li key={key} className={isError ? "toast bad" : "toast"}>
            {text}
          </li>
        ))}
      </ol>
    </ToastContext>
  );
}
