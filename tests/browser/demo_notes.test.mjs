// Two people write in the demo's notes: what somebody wrote is never lost silently.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { Demo } from "./demo.mjs";
import { launch } from "./tabs.mjs";

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

let browser;
let demo;
let count = 0;
before(async () => {
  browser = await launch();
  demo = await Demo.start(browser);
});
afterEach(() => demo.leave());
after(async () => {
  await demo.dispose();
  await browser.close();
});

/** Two people who look at the same note, with text "original". */
async function two(options) {
  const id = `note ${(count += 1)}`;
  await demo.server.mutate("note.create", { id, title: "Original", blob: "original" });
  const people = [await demo.person([], options), await demo.person([], options)];
  for (const person of people) {
    await person.page.goto(`${demo.url}#/notes/${encodeURIComponent(id)}`);
    await person.holds("note-blob", "original");
    await person.isConnection("connected");
  }
  return { id, people };
}

async function write(person, text) {
  await person.at("note-blob").fill(text);
  await person.at("note-save").click();
}

test("what one saves the other sees, and every version is kept", async () => {
  const {
    people: [one, other],
  } = await two();

  await write(one, "second");
  await other.holds("note-blob", "second");
  await other.at("note-title").fill("Third");
  await other.at("note-blob").press("Control+s");
  await one.holds("note-title", "Third");
  await one.at("versions").locator('[data-version="1"]').getByTestId("revert").click();

  for (const person of [one, other]) {
    await person.holds("note-blob", "original");
    await person.holds("note-title", "Original");
    await person.at("versions").locator('[data-version="4"]').waitFor();
    assert.deepEqual(await person.versions(), [4, 3, 2, 1]);
    assert.deepEqual(person.complaints, []);
  }
});

for (const [choice, text, versions] of [
  ["take-theirs", "theirs", [2, 1]],
  ["keep-mine", "mine", [3, 2, 1]],
]) {
  test(`two who write on the same version are told, and one decides: ${choice}`, async () => {
    const {
      people: [one, other],
    } = await two();
    await one.at("note-blob").fill("mine");

    await write(other, "theirs");
    await one.at("note-conflict").waitFor();
    assert.equal(await one.at("note-blob").inputValue(), "mine");
    await one.reads("note-theirs", "theirs");
    await one.at(choice).click();

    for (const person of [one, other]) {
      await person.holds("note-blob", text);
      await person.at("versions").locator(`[data-version="${versions[0]}"]`).waitFor();
      assert.deepEqual(await person.versions(), versions);
      assert.deepEqual(person.complaints, []);
    }
    await one.at("note-conflict").waitFor({ state: "detached" });
  });
}

test("a save that reaches the server after somebody else's is refused, and nothing is overwritten", async () => {
  const {
    id,
    people: [one],
  } = await two();
  await demo.proxy.kill();
  await one.isConnection("reconnecting");
  await write(one, "mine");
  await demo.server.mutate("note.update", { id, blob: "theirs" });

  await demo.proxy.listen();

  await one.at("note-conflict").waitFor();
  assert.equal(await one.at("note-blob").inputValue(), "mine");
  await one.reads("note-theirs", "theirs");
  assert.equal((await demo.server.mutate("note.get", { id })).blob, "theirs");
});

test("a note that is deleted is gone for both, and can be begun anew", async () => {
  const {
    people: [one, other],
  } = await two();

  await one.at("note-delete").click();
  await one.at("note-delete-surely").click();
  for (const person of [one, other]) await person.at("note-gone").waitFor();
  await other.page.getByRole("button", { name: "Begin it anew" }).click();

  for (const person of [one, other]) {
    await person.holds("note-title", "Untitled");
    assert.deepEqual(await person.versions(), [1]);
    assert.deepEqual(person.complaints, []);
  }
});

test("on a phone notes are listed, opened, made and left", async () => {
  const {
    id,
    people: [one],
  } = await two(PHONE);

  await one.page.getByRole("link", { name: "‹ All notes" }).click();
  await one.at("note-list").getByRole("link").filter({ hasText: "Original" }).first().waitFor();
  await one.at("new-note").click();
  await one.holds("note-title", "Untitled");
  await one.at("note-title").fill("Made on a phone");
  await one.at("note-save").click();
  await one.page.getByRole("link", { name: "‹ All notes" }).click();
  await one.at("note-list").getByText("Made on a phone").waitFor();

  assert.equal(await one.page.evaluate(() => document.documentElement.scrollWidth), PHONE.viewport.width);
  assert.equal((await demo.server.mutate("note.get", { id })).version, 1);
  assert.deepEqual(one.complaints, []);
});
