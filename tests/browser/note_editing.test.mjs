// Writing in a note while others write in it too: what somebody wrote is never lost silently.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, NETWORK_COMPLAINT, withTabs } from "./tabs.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

test("reverting brings back an old version as a new one", async () => {
  await withNote(async ({ left, right }) => {
    await left.fill("note-title", "Changed");
    await left.fill("note-blob", "changed");
    await left.click("note-save");
    await right.shows("note-version", 2);

    await right.page.bringToFront();
    await right.page.locator('[data-testid="note-revert"][data-version="1"]').click();

    for (const tab of [left, right]) {
      await tab.shows("note-version", 3);
      await tab.holds("note-title", "Original");
      await tab.holds("note-blob", "original");
      assert.deepEqual(await tab.versions(), [3, 2, 1]);
      assert.deepEqual(tab.complaints, []);
    }
  });
});

test("a newer version never overwrites unsaved changes, and says that it is there", async () => {
  await withNote(async ({ left, right }) => {
    await left.fill("note-blob", "mine, not saved");
    await right.fill("note-blob", "theirs");
    await right.click("note-save");

    await left.shows("note-version", 2);
    await left.at("note-newer").waitFor();
    assert.equal(await left.at("note-blob").inputValue(), "mine, not saved");
    await left.shows("note-newer-version", "Version 2");
    assert.equal(await right.at("note-newer").isVisible(), false);
  });
});

test("saving over a version that was not seen is a conflict, and theirs can be taken", async () => {
  await withConflict(async ({ left, right }) => {
    await left.click("note-take-theirs");

    await left.holds("note-title", "Theirs");
    await left.holds("note-blob", "theirs");
    await left.at("note-conflict").waitFor({ state: "hidden" });
    assert.deepEqual(await left.versions(), [2, 1]);
    assert.deepEqual(await right.versions(), [2, 1]);
  });
});

test("saving over a version that was not seen is a conflict, and it can be overwritten whole", async () => {
  await withConflict(async ({ left, right }) => {
    await left.click("note-overwrite");

    for (const tab of [left, right]) {
      await tab.shows("note-version", 3);
      // The title was changed only by them: what is kept is what this tab showed, not a mixture.
      await tab.holds("note-title", "Original");
      await tab.holds("note-blob", "mine");
      assert.deepEqual(await tab.versions(), [3, 2, 1]);
    }
    await left.at("note-conflict").waitFor({ state: "hidden" });
  });
});

test("a conflict follows to a still newer version before it is decided", async () => {
  await withConflict(async ({ left, right }) => {
    await right.fill("note-blob", "theirs again");
    await right.click("note-save");
    await left.shows("note-theirs-blob", "theirs again");

    await left.click("note-overwrite");

    await right.shows("note-version", 4);
    await right.holds("note-blob", "mine");
  });
});

test("a note created without an id gets one, and the address leads to it", async () => {
  await withTabs(browser, {}, async ({ openTab }) => {
    const left = await openTab("/?note=");
    await left.shows("note-connection-state", "idle");
    await left.fill("note-title", "Named by the server");
    await left.fill("note-blob", "text");
    await left.click("note-create");
    await left.shows("note-version", 1);
    await left.shows("note-connection-state", "connected");

    const right = await openTab(new URL(left.page.url()).search);
    await right.holds("note-title", "Named by the server");
    await right.holds("note-blob", "text");

    const id = new URL(left.page.url()).searchParams.get("note");
    assert.match(id, /^[0-9a-f-]{36}$/);
    assert.equal(await left.at("note-id").inputValue(), id);
    assert.deepEqual(left.complaints, []);
  });
});

test("deleting asks first, and then the note is gone in both tabs", async () => {
  await withNote(async ({ left, right }) => {
    await left.click("note-delete");
    await left.click("confirm-no");
    await left.at("confirm").waitFor({ state: "hidden" });
    assert.equal(await left.at("note-version").textContent(), "1");

    await left.click("note-delete");
    await left.click("confirm-yes");

    for (const tab of [left, right]) {
      await tab.shows("note-version", "–");
      await tab.holds("note-title", "");
      assert.deepEqual(await tab.versions(), []);
      await tab.at("note-create").waitFor();
      assert.deepEqual(tab.complaints, []);
    }
  });
});

test("what was not saved survives that somebody else deletes the note", async () => {
  await withNote(async ({ left, right }) => {
    await left.fill("note-blob", "still here");
    await right.click("note-delete");
    await right.click("confirm-yes");

    await left.at("note-gone").waitFor();
    assert.equal(await left.at("note-blob").inputValue(), "still here");
    await left.click("note-create");

    await right.shows("note-version", 1);
    await right.holds("note-blob", "still here");
    assert.deepEqual(await right.versions(), [1]);
  });
});

test("notes can be picked from the list, and unsaved changes are asked about", async () => {
  await withNote(async ({ server, left }) => {
    await server.mutate("note.create", { id: "other", title: "Another", blob: "other text" });
    await left.fill("note-blob", "not saved");

    const pick = async () => {
      await left.page.bringToFront();
      await left.at("note-list").locator("summary").click();
      await left.at("note-list-items").getByText("Another").click();
    };
    await pick();
    await left.click("confirm-no");
    assert.equal(await left.at("note-blob").inputValue(), "not saved");
    await pick();
    await left.click("confirm-yes");

    await left.holds("note-blob", "other text");
    assert.equal(await left.at("note-id").inputValue(), "other");
  });
});

test("a text is shown as it was written, never as markup", async () => {
  await withTabs(browser, {}, async ({ server, openTab }) => {
    const title = "<img src=x onerror=alert(1)>";
    const blob = "</textarea><script>alert(1)</script>\r\n\"quoted\" & 🐭";
    await server.mutate("note.create", { id: "my-note", title, blob });
    const tab = await openTab();

    await tab.holds("note-title", title);
    await tab.holds("note-blob", blob.replace("\r\n", "\n"));
    await tab.page.locator('[data-version="1"] summary').click();

    // Line breaks that a field writes differently are no change.
    assert.equal(await tab.at("note-save").isDisabled(), true);
    assert.deepEqual(tab.complaints, []);
  });
});

test("a note can be written, saved and opened with the keyboard alone", async () => {
  await withTabs(browser, {}, async ({ openTab }) => {
    const tab = await openTab();
    await tab.at("note-create").waitFor(); // Fields take no text before it is known whether there is a note.
    const { keyboard } = tab.page;

    await tab.at("note-title").focus();
    await keyboard.type("Typed");
    await keyboard.press("Tab");
    await keyboard.type("one");
    await keyboard.press("Control+s");
    await tab.shows("note-version", 1);
    await keyboard.type(", two");
    await keyboard.press("Control+s");
    await tab.shows("note-version", 2);

    await tab.holds("note-title", "Typed");
    await tab.holds("note-blob", "one, two");
  });
});

/** Two tabs on one note, `Original`. */
async function withNote(body) {
  await withTabs(browser, {}, async ({ server, openTab }) => {
    await server.mutate("note.create", { id: "my-note", title: "Original", blob: "original" });
    const [left, right] = [await openTab(), await openTab()];
    await left.shows("note-version", 1);
    await right.shows("note-version", 1);
    await left.isConnected();
    await right.isConnected();
    await body({ server, left, right });
  });
}

/** As `withNote`; the right tab saved `Theirs`, then the left one tried to save over version 1. */
async function withConflict(body) {
  await withNote(async ({ left, right }) => {
    await left.fill("note-blob", "mine");
    await right.fill("note-title", "Theirs");
    await right.fill("note-blob", "theirs");
    await right.click("note-save");
    await left.shows("note-version", 2);

    await left.click("note-save");
    await left.at("note-conflict").waitFor();
    await left.shows("note-theirs-title", "Theirs");
    await left.shows("note-theirs-blob", "theirs");
    assert.equal(await left.at("note-blob").inputValue(), "mine");

    await body({ left, right });
    for (const tab of [left, right]) {
      assert.deepEqual(tab.complaints.filter((text) => !NETWORK_COMPLAINT.test(text)), []);
    }
  });
}
