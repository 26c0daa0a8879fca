// Who looks at the same thing in the demo, in two browsers.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { Demo } from "./demo.mjs";
import { launch } from "./tabs.mjs";

const NAME = "looked at";

let browser;
let demo;
before(async () => {
  browser = await launch();
  demo = await Demo.start(browser, "--presence-grace", "100ms");
});
afterEach(() => demo.leave());
after(async () => {
  await demo.dispose();
  await browser.close();
});

const sees = (person, viewers) => person.page.locator(`[data-testid=viewers]:text-is("${viewers} viewing")`).waitFor();

test("who looks at a counter is counted, until they leave or switch it off", async () => {
  const one = await demo.person([NAME]);
  await one.isCounter(NAME, "connected");
  assert.equal(await one.at("viewers").count(), 0, "who is alone is not counted");

  const others = [await demo.person([NAME]), await demo.person([NAME])];
  for (const person of [one, ...others]) await sees(person, 3);
  assert.equal(await demo.server.metric("dormouse_sockets_open"), 3, "over the connections that are there anyway");

  await others[0].page.close();
  for (const person of [one, others[1]]) await sees(person, 2);
  await others[1].counter(NAME, "live").click();
  await one.at("viewers").waitFor({ state: "detached" });
  await others[1].counter(NAME, "live").click();
  for (const person of [one, others[1]]) await sees(person, 2);
  for (const { complaints } of [one, ...others]) assert.deepEqual(complaints, []);
});

test("who looks at a note is counted again after the network was away", async () => {
  await demo.server.mutate("note.create", { id: "looked at", title: "Looked at" });
  const people = [await demo.person([]), await demo.person([])];
  for (const person of people) await person.page.goto(`${demo.url}#/notes/looked%20at`);
  for (const person of people) await sees(person, 2);

  await demo.proxy.kill();
  for (const person of people) await person.isConnection("reconnecting");
  await demo.proxy.listen();

  for (const person of people) {
    await person.isConnection("connected");
    await sees(person, 2);
    assert.deepEqual(person.complaints, []);
  }
});
