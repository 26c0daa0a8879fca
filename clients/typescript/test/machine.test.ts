// The machine's decisions, with a clock and dice that the test holds.

import { describe, expect, test } from "vitest";

import { DormouseError } from "../src/errors.js";
import { deadline, idle, type Input, type Machine, step, type Surroundings } from "../src/machine.js";

/** A machine whose time stands still until `pass` moves it. */
class Bench {
  machine: Machine = idle("websocket");
  effects: string[] = [];
  now = 0;
  dice = 0.5;
  around: Partial<Surroundings> = {};

  input(input: Input): this {
    const [machine, effect] = step(this.machine, input, {
      now: () => this.now,
      random: () => this.dice,
      fixedDelayMs: () => Infinity,
      hasTokens: true,
      expiresAt: () => Infinity,
      mayFallBack: true,
      ...this.around,
    });
    this.machine = machine;
    if (effect !== null) this.effects.push(effect);
    return this;
  }

  /** Lets time pass, with a tick at every deadline. */
  pass(ms: number): this {
    const end = this.now + ms;
    while (deadline(this.machine) <= end) {
      this.now = Math.max(this.now, deadline(this.machine));
      this.input({ type: "tick" });
    }
    this.now = end;
    return this;
  }

  open(): this {
    return this.input({ type: "start" }).input({ type: "opened" });
  }

  /** What was to be done since the last time. */
  done(): string[] {
    return this.effects.splice(0);
  }

  get waitMs(): number {
    expect(this.machine.phase.name).toBe("reconnecting");
    return deadline(this.machine) - this.now;
  }
}

const end = (closeCode?: number, reason = ""): Input =>
  closeCode === undefined ? { type: "ended" } : { type: "ended", closeCode, reason };
const refused = (status: number, retryAfterMs = 0): Input => ({
  type: "refused",
  status,
  error: new DormouseError("FORBIDDEN", "no", { data: { status } }),
  retryAfterMs,
});

describe("close codes", () => {
  test.each([1000, 1001, 1002, 1003, 1007, 1008, 1009, 4001, 4003, 4004, 4005])("%i is final", (code) => {
    const bench = new Bench().open().input(end(code));

    expect(bench.machine.phase.name).toBe("closed");
    expect(bench.machine.error?.data).toEqual({ closeCode: code });
    expect(bench.pass(1e9).done()).toEqual(["dial", "drop"]);
  });

  test.each([1006, 1011, 1013, 4002, 4900])("after %i it comes back", (code) => {
    const bench = new Bench().open().input(end(code));

    expect(bench.machine.phase.name).toBe("reconnecting");
    expect(bench.pass(250).done()).toEqual(["dial", "drop", "dial"]);
  });

  test("after 4002 without a way to get a new token it is over", () => {
    const bench = new Bench();
    bench.around = { hasTokens: false };

    expect(bench.open().input(end(4002)).machine).toMatchObject({
      phase: { name: "closed" },
      error: { code: "UNAUTHORIZED" },
    });
  });

  test.each([
    ["with the token that it knows expired", 100_000, "reconnecting"],
    ["a minute before that, since clocks differ", 160_000, "reconnecting"],
    ["long before that", 176_000, "closed"],
  ])("1008 %s", (_, expiresAt, name) => {
    const bench = new Bench();
    bench.around = { expiresAt: () => expiresAt };

    expect(bench.open().pass(100_000).input(end(1008)).machine.phase.name).toBe(name);
  });

  test("1008 with a token that expired is final where there is no other", () => {
    const bench = new Bench();
    bench.around = { expiresAt: () => 0, hasTokens: false };

    expect(bench.open().input(end(1008)).machine.phase.name).toBe("closed");
  });

  test("after a token that expired, one that does not help is the end", () => {
    const bench = new Bench();
    bench.around = { expiresAt: () => 0 };

    bench.open().input(end(1008)).pass(250).input(end()).input(refused(401));

    expect(bench.machine).toMatchObject({ phase: { name: "closed" }, error: { data: { status: 401 } } });
    expect(bench.pass(1e9).done()).toEqual(["dial", "drop", "dial", "ask", "drop"]);
  });

  test.each([
    ['{"withinMs":20000}', 10_000],
    ['{"withinMs":0}', 125],
    ['{"withinMs":999999999}', 150_000],
    ["", 125],
    ['{"withinMs":-5}', 125],
  ])("a restart's window %s is used whole", (reason, waitMs) => {
    expect(new Bench().open().input(end(1012, reason)).waitMs).toBe(waitMs);
  });
});

describe("back-off", () => {
  test("it doubles up to 30 s, and is a random share", () => {
    const bench = new Bench().open();
    bench.dice = 0.999;
    const waits = [];
    for (let failure = 0; failure < 10; failure += 1) {
      bench.input(end(1011));
      waits.push(bench.waitMs);
      bench.pass(bench.waitMs).input({ type: "opened" });
    }

    expect(waits.map(Math.round)).toEqual([250, 500, 999, 1998, 3996, 7992, 15984, 29970, 29970, 29970]);
    bench.dice = 0;
    expect(bench.input(end(1011)).waitMs).toBe(0);
  });

  test("it starts over after five seconds of uptime, and not before", () => {
    const bench = new Bench().open().input(end(1011)).pass(250).input({ type: "opened" });

    bench.pass(4_999).input(end(1011));
    expect(bench.machine.attempt).toBe(2);
    bench.pass(1_000).input({ type: "opened" }).pass(5_000).input(end(1011));

    expect(bench.machine.attempt).toBe(1);
    expect(bench.waitMs).toBe(125);
  });

  test("a fixed delay replaces it", () => {
    const bench = new Bench();
    bench.around = { fixedDelayMs: () => 3_000 };
    bench.open();

    for (let failure = 0; failure < 5; failure += 1) {
      expect(bench.input(end(1006)).waitMs).toBe(3_000);
      bench.pass(3_000).input({ type: "opened" });
    }
  });
});

describe("handshakes", () => {
  test("a failed one is asked about, and 426 after two means event streams", () => {
    const bench = new Bench().input({ type: "start" });
    for (const transport of ["websocket", "sse"]) {
      bench.input(end());
      expect(bench.machine.phase.name).toBe("asking");
      bench.input(refused(426));
      expect(bench.machine.transport).toBe(transport);
      bench.pass(60_000);
    }

    expect(bench.done().slice(0, 6)).toEqual(["dial", "ask", "drop", "dial", "ask", "drop"]);
  });

  test("one that hangs is asked about as well, and so is a server that does not answer left", () => {
    const bench = new Bench().input({ type: "start" }).pass(10_000);
    expect(bench.machine.phase.name).toBe("asking");

    bench.pass(10_000);

    expect(bench.machine).toMatchObject({
      phase: { name: "reconnecting" },
      error: { message: "the server does not answer" },
    });
  });

  test("an event stream that was fallen back to stays until the network changes", () => {
    const bench = new Bench().input({ type: "start" });
    for (const input of [end(), refused(426)]) bench.input(input);
    bench.pass(1_000).input(end()).input(refused(426)).pass(1_000).input({ type: "opened" });
    expect(bench.machine.phase.name).toBe("connected");

    bench.input(end(1006)).pass(60).input({ type: "wake" });

    expect(bench.machine).toMatchObject({ phase: { name: "dialling" }, transport: "websocket" });
  });

  test("without permission there is no falling back", () => {
    const bench = new Bench();
    bench.around = { mayFallBack: false };
    bench.input({ type: "start" });
    for (let failure = 0; failure < 5; failure += 1) bench.input(end()).input(refused(426)).pass(60_000);

    expect(bench.machine.transport).toBe("websocket");
  });

  test.each([400, 401, 403, 404, 414])("a refusal with %i is final", (status) => {
    const bench = new Bench().input({ type: "start" }).input(end()).input(refused(status));

    expect(bench.machine).toMatchObject({ phase: { name: "closed" }, error: { data: { status } } });
  });

  test.each([408, 426, 429, 500, 502, 503])("a refusal with %i is not", (status) => {
    expect(new Bench().input({ type: "start" }).input(end()).input(refused(status)).waitMs).toBe(125);
  });

  test("a server that asks to wait is waited for, within bounds", () => {
    const bench = new Bench().input({ type: "start" }).input(end());

    expect(bench.input(refused(503, 7_000)).waitMs).toBe(7_000);
    bench.pass(7_000).input(end()).input(refused(503, 1e12));
    expect(bench.waitMs).toBe(300_000);
  });
});

describe("life", () => {
  test("a ping goes out every 30 s, and silence for ten seconds after one is the end", () => {
    const bench = new Bench().open();
    bench.done();

    bench.pass(30_000).input({ type: "heard" }).pass(30_000);
    expect(bench.done()).toEqual(["ping", "ping"]);
    bench.pass(9_999);
    expect(bench.machine.phase.name).toBe("connected");
    bench.pass(1);

    expect(bench.machine).toMatchObject({ phase: { name: "reconnecting" }, error: { message: "the server fell silent" } });
  });

  test("an event stream is left when two heartbeats are missing", () => {
    const bench = new Bench();
    bench.machine = idle("sse");
    bench.open();

    for (let heartbeat = 0; heartbeat < 10; heartbeat += 1) bench.pass(29_000).input({ type: "heard" });
    expect(bench.machine.phase.name).toBe("connected");
    bench.pass(59_999);
    expect(bench.machine.phase.name).toBe("connected");
    bench.pass(1);

    expect(bench.machine.phase.name).toBe("reconnecting");
  });

  test("a gap and a refresh dial again: the one as a failure, the other as a wish", () => {
    const bench = new Bench().open();

    expect(bench.input({ type: "refresh" }).machine).toMatchObject({
      phase: { name: "dialling" },
      attempt: 0,
      error: null,
    });
    bench.input({ type: "opened" }).input({ type: "gap" });
    expect(bench.machine).toMatchObject({ phase: { name: "reconnecting" }, attempt: 1 });
  });

  test("a refresh during the handshake begins another, and there is none while the next try is waited for", () => {
    const bench = new Bench().input({ type: "start" }).input({ type: "refresh" });
    expect(bench.done()).toEqual(["dial", "dial"]);

    bench.input({ type: "opened" }).input(end(1006)).input({ type: "refresh" });

    expect(bench.done()).toEqual(["drop"]);
  });

  test("waking dials at once, and asks an open connection whether it lives", () => {
    const bench = new Bench().open().input(end(1013));
    bench.done();

    bench.input({ type: "wake" });
    expect(bench.done()).toEqual(["dial"]);
    bench.input({ type: "opened" }).input({ type: "wake" }).input({ type: "wake" });
    expect(bench.done()).toEqual(["ping"]);
  });

  test("a frozen page lets go, and comes back when it is shown", () => {
    const bench = new Bench().open().input({ type: "suspend" });
    expect(bench.pass(1e9).done()).toEqual(["dial", "drop"]);

    bench.input({ type: "wake" });

    expect(bench.machine).toMatchObject({ phase: { name: "dialling" }, attempt: 0, error: null });
  });

  test("what comes when nobody listens changes nothing", () => {
    const inputs: Input[] = [
      { type: "tick" },
      { type: "opened" },
      { type: "heard" },
      { type: "gap" },
      { type: "refresh" },
      { type: "wake" },
      { type: "probe" },
      { type: "suspend" },
      { type: "stop" },
      { type: "unreachable", cause: null },
      end(),
    ];
    for (const input of inputs) {
      const bench = new Bench();
      const before = bench.machine;
      expect(bench.input(input).machine, input.type).toBe(before);
    }
  });

  test("after every order of inputs it waits for time or is at an end", () => {
    const inputs: Input[] = [
      { type: "start" },
      { type: "stop" },
      { type: "opened" },
      { type: "heard" },
      { type: "gap" },
      { type: "refresh" },
      { type: "wake" },
      { type: "probe" },
      { type: "tick" },
      end(),
      end(1012, '{"withinMs":100}'),
      end(1008),
      refused(426),
      refused(503, 1_000),
      refused(404),
      { type: "unreachable", cause: null },
    ];
    for (let seed = 1; seed <= 200; seed += 1) {
      let state = seed;
      const bench = new Bench();
      for (let round = 0; round < 200; round += 1) {
        // Xorshift32: the same run for the same seed, without a dependency.
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        const choice = (state >>> 0) % (inputs.length + 4);
        const input = inputs[choice];
        if (input === undefined) bench.pass((state >>> 0) % 40_000);
        else bench.input(input);
        const { name } = bench.machine.phase;
        const isFinite = deadline(bench.machine) < Infinity;
        expect(isFinite, `seed ${seed}: ${name}`).toBe(name !== "idle" && name !== "closed");
      }
    }
  });
});
