// Half a minute of random cuts. `random_cuts.mjs` runs for as long as somebody likes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { runRandomCuts } from "./random_cuts.mjs";

const SECONDS = 30;
const SEED = 20_250_115;

/** Less than by hand: there should be a few faults. */
const CALM_MS_MAX = 3_000;

test("two who edit while network and server fail at random end with what the server says, and nothing happened twice", async () => {
  const { faults, acknowledged } = await runRandomCuts(SECONDS, SEED, CALM_MS_MAX);

  assert.notDeepEqual(faults, {});
  assert.ok(acknowledged > 0);
});
