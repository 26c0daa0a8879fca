import { PATIENCE_MS } from "../../../tests/browser/server.mjs";

/** How often it looks, in milliseconds. */
const INTERVAL_MS = 5;

/** Waits until a condition holds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`it never came true: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}
