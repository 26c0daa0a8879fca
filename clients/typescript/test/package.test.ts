// The package as Node loads it. `npm run check` builds it first.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { expect, test } from "vitest";

const run = promisify(execFile);
const HERE = fileURLToPath(new URL("..", import.meta.url));

const ENTRIES = ["", "/channel", "/react", "/tanstack", "/trpc"];

/** Loads every entry, makes a client and an object, and ends by itself: nothing is opened, and no timer waits. */
const BODY = `
  const client = core.createClient({ url: "http://127.0.0.1:1" });
  const counter = client.object("counter", "a");
  const { queryKey } = tanstack.createQueries(client, { setQueryDefaults() {} }).query("counter", "a", "getValue");
  const chat = channels.createClient({ url: "http://127.0.0.1:1" }).channel("a");
  const states = [counter.state.status, chat.state.status];
  console.log(JSON.stringify([states, typeof react.useObject, Object.keys(trpc), queryKey]));
`;
const PRINTED = [["idle", "idle"], "function", [], [["counter", "getValue"], { input: { name: "a" }, type: "query" }]];

test.each([
  ["import", ["--input-type=module", "-e"], (name: string) => `await import("@dormouse/client${name}")`],
  ["require", ["--input-type=commonjs", "-e"], (name: string) => `require("@dormouse/client${name}")`],
] as const)("every entry loads with %s, also where there is no browser", async (_, flags, load) => {
  const script = `
    const [core, channels, react, tanstack, trpc] = [${ENTRIES.map(load).join(", ")}];
    ${BODY}`;

  const { stdout, stderr } = await run(process.execPath, [...flags, script], { cwd: HERE });

  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toEqual(PRINTED);
});
