// The page on a server that wants tokens.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, NETWORK_COMPLAINT, withTabs } from "./tabs.mjs";
import { GUARDED, tokenOf } from "./token.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

async function give(tab, token) {
  await tab.fill("token", token);
  await tab.click("token-use");
}

function hasOnlyNetworkComplaints(tab) {
  assert.deepEqual(tab.complaints.filter((text) => !NETWORK_COMPLAINT.test(text)), []);
}

test("the page asks for a token, keeps it as long as the tab, and works with it", async () => {
  await withTabs(browser, { settings: GUARDED }, async ({ openTab }) => {
    const tab = await openTab("/?counter=a&note=n");
    await tab.at("token-form").waitFor();
    await tab.shows("token-reason", "This server wants a token.");
    await tab.shows("connection-state", "closed");

    await give(tab, tokenOf("ann"));

    await tab.isConnected();
    assert.equal(await tab.at("token-form").isVisible(), false);
    await tab.click("counter-increment");
    await tab.shows("counter-value", 1);
    await tab.at("counter-history").locator("li").first().waitFor();
    await tab.page.reload();
    await tab.isConnected();
    await tab.shows("counter-value", 1);
    assert.equal(await tab.at("token-form").isVisible(), false);
    hasOnlyNetworkComplaints(tab);
  });
});

test("a token that is wrong or allows too little is asked for again, and what was written stays", async () => {
  await withTabs(browser, { settings: GUARDED }, async ({ server, openTab }) => {
    await server.mutate("note.create", { id: "n", title: "Mine" }, tokenOf("ann"));
    const tab = await openTab("/?counter=a&note=n");
    await tab.at("token-form").waitFor();

    await give(tab, "not a token");
    await tab.shows("error", "This is no token.");
    await give(tab, `${tokenOf("ann")}x`);
    await tab.shows("token-reason", "The server does not take this token.");
    await give(tab, tokenOf("ann", ["read"]));
    await tab.isConnected();
    await tab.fill("note-blob", "What I wrote");
    await tab.click("note-save");
    await tab.shows("token-reason", "The token does not allow this.");
    await give(tab, tokenOf("ann"));
    await tab.isConnected();
    await tab.click("note-save");

    await tab.shows("note-version", 2);
    assert.equal(await tab.at("note-blob").inputValue(), "What I wrote");
    hasOnlyNetworkComplaints(tab);
  });
});

test("a token that has expired is asked for again", async () => {
  // Tokens count 5 s longer than they say.
  await withTabs(browser, { settings: GUARDED }, async ({ openTab }) => {
    const tab = await openTab("/?counter=a&note=");
    await tab.at("token-form").waitFor();
    await give(tab, tokenOf("ann", ["read"], -2));
    await tab.shows("connection-state", "connected");

    await tab.shows("token-reason", "The token has expired, or does not allow this any more.");

    await give(tab, tokenOf("ann"));
    await tab.shows("connection-state", "connected");
  });
});

test("a server without keys is asked without a token", async () => {
  await withTabs(browser, {}, async ({ openTab }) => {
    const tab = await openTab();
    await tab.isConnected();
    assert.equal(await tab.at("token-form").isVisible(), false);
  });
});
