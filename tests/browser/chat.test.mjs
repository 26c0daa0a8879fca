// Two people in a chat: what each sees of the other, and what a broken network and a killed server do to it.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { Chat } from "./chat.mjs";
import { launch } from "./tabs.mjs";

let browser;
let chat;
let count = 0;
before(async () => {
  browser = await launch();
  chat = await Chat.start(browser, "--drain-window", "500ms");
});
afterEach(() => chat.leave());
after(async () => {
  await chat.dispose();
  await browser.close();
});

/** A channel that no other test knows. */
const fresh = () => `channel ${(count += 1)}`;

/** Alice beside the server, Bob behind the network that can be broken. */
async function two(channel) {
  const alice = await chat.person("Alice", channel);
  const bob = await chat.person("Bob", channel, { isFar: true });
  return [alice, bob];
}

/** The same two, after Carol has said more than fits on the screen and Alice has read it to its end. */
async function afterManyMessages() {
  const channel = fresh();
  const texts = Array.from({ length: 40 }, (_, index) => `message ${index}`);
  for (const text of texts) await chat.post("Carol", channel, text);
  const [alice, bob] = await two(channel);
  await alice.hasHeard(...texts);
  await alice.hasUnread(channel, 0);
  return { channel, texts, alice, bob };
}

function assertSilent(...people) {
  for (const { complaints } of people) assert.deepEqual(complaints, []);
}

test("two people see each other, see each other write, and read the same", async () => {
  const [alice, bob] = await two(fresh());
  for (const person of [alice, bob]) {
    await person.at("people").locator("[data-user=alice]").waitFor();
    await person.at("people").locator("[data-user=bob]").waitFor();
  }

  await alice.at("composer").pressSequentially("Hello");
  await bob.reads("typing", "Alice is writing");
  assert.equal(await alice.at("typing").textContent(), "", "nobody is told of themselves");
  await alice.at("composer").press("Enter");
  await bob.hasHeard("Hello");
  await bob.reads("typing", "");
  await bob.say("Good evening");
  await alice.say("How are the hazelnuts?");

  for (const person of [alice, bob]) await person.hasHeard("Hello", "Good evening", "How are the hazelnuts?");
  assert.equal(await bob.message("Hello").getAttribute("data-own"), "false");
  assert.equal(await alice.message("Hello").getAttribute("data-own"), "true");
  await bob.page.close();
  await alice.at("people").locator("[data-user=bob]").waitFor({ state: "detached" });
  assertSilent(alice, bob);
});

test("who stops writing without a word is not said to write", async () => {
  const [alice, bob] = await two(fresh());
  await alice.at("composer").pressSequentially("Well");
  await bob.reads("typing", "Alice is writing");

  await alice.at("composer").fill("");

  await bob.reads("typing", "");
  assertSilent(alice, bob);
});

test("who loses the network misses nothing, and what they wrote meanwhile arrives once", async () => {
  const [alice, bob] = await two(fresh());
  await alice.say("before");
  await bob.hasHeard("before");

  await chat.proxy.kill();
  await bob.isConnection("reconnecting");
  await bob.at("banner").waitFor();
  await alice.at("people").locator("[data-user=bob]").waitFor({ state: "detached" });
  await bob.say("written offline, first");
  await bob.say("written offline, second");
  assert.deepEqual(await bob.at("pending").allTextContents(), ["Waiting for the connection", "Waiting for the connection"]);
  for (const text of ["one", "two", "three"]) await alice.say(text);
  await alice.hasHeard("before", "one", "two", "three");
  await chat.proxy.listen();

  const all = ["before", "one", "two", "three", "written offline, first", "written offline, second"];
  for (const person of [bob, alice]) await person.hasHeard(...all);
  await bob.at("banner").waitFor({ state: "detached" });
  await alice.at("people").locator("[data-user=bob]").waitFor();
  assertSilent(alice, bob);
});

test("a message whose answer was lost is stored once", async () => {
  const [alice, bob] = await two(fresh());

  chat.proxy.holdAnswers();
  await bob.say("sent, and not answered");
  await alice.hasHeard("sent, and not answered");
  await chat.proxy.kill();
  await bob.isConnection("reconnecting");
  await chat.proxy.listen();

  await bob.hasHeard("sent, and not answered");
  await alice.say("once");
  for (const person of [alice, bob]) await person.hasHeard("sent, and not answered", "once");
  assertSilent(alice, bob);
});

test("who was away for more than a page gets all of it, in order", async () => {
  const channel = fresh();
  const [alice, bob] = await two(channel);
  await alice.say("before");
  await bob.hasHeard("before");
  await chat.proxy.kill();
  await bob.isConnection("reconnecting");
  const missed = Array.from({ length: 120 }, (_, index) => `missed ${index}`);
  for (const text of missed) await chat.post("Carol", channel, text);
  await chat.proxy.listen();

  for (const person of [alice, bob]) await person.hasHeard("before", ...missed);
  assertSilent(alice, bob);
});

test("a server that is killed in the middle has what it acknowledged, and nothing twice", async () => {
  const [alice, bob] = await two(fresh());
  await alice.say("acknowledged by Alice");
  await bob.say("acknowledged by Bob");
  for (const person of [alice, bob]) await person.hasHeard("acknowledged by Alice", "acknowledged by Bob");

  const killed = chat.server.kill();
  await alice.say("in the middle");
  await killed;
  await bob.isConnection("reconnecting");
  await bob.say("while it was away");
  await chat.server.start();

  for (const person of [alice, bob]) await person.at("messages").getByText("while it was away").waitFor();
  for (const person of [alice, bob]) await person.at("messages").getByText("in the middle").waitFor();
  await alice.say("after");
  await bob.at("messages").getByText("after").waitFor();
  const heard = await alice.hears();
  assert.deepEqual([...heard].sort(), [...new Set(heard)].sort(), "nothing twice");
  assert.deepEqual(heard.slice(0, 2), ["acknowledged by Alice", "acknowledged by Bob"]);
  assert.equal(heard.length, 5);
  await alice.hasHeard(...heard);
  await bob.hasHeard(...heard);
  assertSilent(alice, bob);
});

test("script in a message is text", async () => {
  const [alice, bob] = await two(fresh());
  const dialogs = [];
  for (const { page } of [alice, bob]) page.on("dialog", (dialog) => dialogs.push(dialog.message()));
  const attacks = [
    "<script>alert(1)</script>",
    '<img src="x" onerror="alert(2)">',
    "<a href='javascript:alert(3)'>click</a>",
    "</p></li><style>*{display:none}</style>",
    "{{constructor.constructor('alert(4)')()}} &lt;b&gt;",
  ];
  for (const attack of attacks) await alice.say(attack);

  for (const person of [alice, bob]) {
    await person.hasHeard(...attacks);
    assert.equal(await person.at("messages").locator("script, img, style, a[href^=javascript]").count(), 0);
  }
  assert.deepEqual(dialogs, []);
  assertSilent(alice, bob);
});

test("what is unread is counted, where it begins is marked, and the other sees what was read", async () => {
  const channel = fresh();
  const [alice, bob] = await two(channel);
  await alice.say("read by both");
  await alice.message("read by both").getByTitle("Read by Bob").waitFor();

  await bob.goTo(fresh());
  await alice.say("first");
  await alice.say("second");
  await bob.hasUnread(channel, 2);
  assert.equal(await alice.message("second").getByTestId("readers").count(), 0);
  await bob.goTo(channel);

  await bob.hasUnread(channel, 0);
  const listed = await bob.at("messages").locator("[data-message], [data-testid=new]").evaluateAll((rows) =>
    rows.map((row) => row.querySelector("[data-testid=content]")?.textContent ?? "new"),
  );
  assert.deepEqual(listed, ["read by both", "new", "first", "second"]);
  await alice.message("second").getByTestId("readers").waitFor();
  await bob.page.reload();
  await bob.hasHeard("read by both", "first", "second");
  await bob.hasUnread(channel, 0);
  assertSilent(alice, bob);
});

test("a thread is beside the channel, and its replies are counted", async () => {
  const [alice, bob] = await two(fresh());
  await alice.say("Where are they?");
  await bob.hasHeard("Where are they?");

  await bob.message("Where are they?").hover();
  await bob.at("reply").click();
  await bob.at("thread-composer").fill("Behind the third root.");
  await bob.at("thread-composer").press("Enter");
  await alice.at("replies").getByText("1 reply").click();
  await alice.at("thread").getByText("Behind the third root.").waitFor();
  await alice.at("thread-composer").fill("From the left?");
  await alice.at("thread-composer").press("Enter");

  await bob.at("thread").getByText("From the left?").waitFor();
  for (const person of [alice, bob]) {
    await person.at("replies").getByText("2 replies").waitFor();
    assert.deepEqual(await person.hears(), ["Where are they?"]);
    assert.deepEqual(await person.at("thread").getByTestId("content").allTextContents(), [
      "Where are they?",
      "Behind the third root.",
      "From the left?",
    ]);
  }
  await alice.page.keyboard.press("Escape");
  await alice.at("thread").waitFor({ state: "detached" });
  assertSilent(alice, bob);
});

test("older messages come when the top is reached, and what was in sight stays there", async () => {
  const channel = fresh();
  const texts = Array.from({ length: 130 }, (_, index) => `message ${index}`);
  for (const text of texts) await chat.post("Carol", channel, text);
  const alice = await chat.person("Alice", channel);
  await alice.hasHeard(...texts.slice(-50));

  for (const first of [texts.length - 100, 0]) {
    await alice.at("messages").evaluate((box) => box.scrollTo(0, 0));
    await alice.hasHeard(...texts.slice(first));
    const top = await alice.at("messages").evaluate((box) => box.scrollTop);
    assert.ok(top > 200, `the page did not jump to the top: ${top}`);
  }
  assertSilent(alice);
});

test("who reads further up is not moved, and what comes meanwhile is unread until they come down", async () => {
  const { channel, texts, alice, bob } = await afterManyMessages();
  const scroll = (body) => alice.at("messages").evaluate(body);
  await scroll((box) => box.scrollTo(0, 300));

  await bob.say("Look down");
  await alice.hasHeard(...texts, "Look down");

  assert.equal(await scroll((box) => box.scrollTop), 300);
  await alice.hasUnread(channel, 1);
  await scroll((box) => box.scrollTo(0, box.scrollHeight));
  await alice.hasUnread(channel, 0);
  await bob.say("Thank you");
  await alice.hasHeard(...texts, "Look down", "Thank you");
  assert.ok(await scroll((box) => box.scrollHeight - box.scrollTop - box.clientHeight < 2), "the end stays in sight");
  await scroll((box) => box.scrollTo(0, 300));
  await alice.say("You are welcome");
  await alice.hasHeard(...texts, "Look down", "Thank you", "You are welcome");
  assert.ok(await scroll((box) => box.scrollHeight - box.scrollTop - box.clientHeight < 2), "what one writes is in sight");
  assertSilent(alice, bob);
});

test("a message does not undo scrolling that the page has not heard of yet", async () => {
  const { texts, alice, bob } = await afterManyMessages();
  const box = alice.at("messages");
  await box.evaluate((box) => {
    // Before everybody else: the page hears of no scrolling.
    window.addEventListener("scroll", (event) => event.stopImmediatePropagation(), { capture: true });
    box.scrollTo(0, 300);
  });

  await bob.say("Look down");
  await alice.hasHeard(...texts, "Look down");

  assert.equal(await box.evaluate((box) => box.scrollTop), 300);
  assertSilent(alice, bob);
});

test("who leaves may come back as somebody else", async () => {
  const channel = fresh();
  const [alice, bob] = await two(channel);
  await alice.say("I am Alice");

  await alice.at("leave").click();
  await alice.at("name").fill("Mallory");
  await alice.at("name").press("Enter");
  await alice.goTo(channel);
  await alice.hasHeard("I am Alice");
  await alice.say("I am not");

  await bob.hasHeard("I am Alice", "I am not");
  assert.equal(await alice.message("I am Alice").getAttribute("data-own"), "false");
  await bob.at("people").locator("[data-user=mallory]").waitFor();
  await bob.at("people").locator("[data-user=alice]").waitFor({ state: "detached" });
  assertSilent(alice, bob);
});

test("on a phone one thing is on the screen at a time, and a thread is a sheet", async () => {
  const channel = fresh();
  const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
  const alice = await chat.person("Alice", channel, phone);
  await alice.say("From the train");
  await alice.hasHeard("From the train");
  assert.ok(!(await alice.at("channels").isVisible()));

  await alice.at("reply").tap();
  await alice.at("thread-composer").fill("In the tunnel");
  await alice.page.getByRole("button", { name: "Send" }).last().tap();
  await alice.at("thread").getByText("In the tunnel").waitFor();
  await alice.at("thread-close").tap();
  await alice.at("replies").getByText("1 reply").waitFor();
  await alice.page.getByLabel("All channels").tap();

  await alice.at("channels").locator(`[data-channel="${channel}"]`).waitFor();
  assert.ok(!(await alice.at("composer").isVisible()));
  const width = await alice.page.evaluate(() => document.documentElement.scrollWidth);
  assert.equal(width, phone.viewport.width, "nothing is wider than the screen");
  assertSilent(alice);
});
