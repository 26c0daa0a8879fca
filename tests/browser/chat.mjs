// The chat of examples/chat, and people in it. Some are behind a network that can be broken, the others beside the server.

import { ExamplePage, Visitor } from "./page.mjs";
import { Proxy } from "./proxy.mjs";
import { PATIENCE_MS, Server } from "./server.mjs";

/** What server and page have in common. Nobody else can reach them. */
const SECRET = "a secret that only these tests have";

/** Server, broken network, and a page on either side of it. */
export class Chat {
  server;
  proxy;
  #browser;
  #near;
  #far;
  #people = [];

  /** Starts all four. `args` are the server's. */
  static async start(browser, ...args) {
    const chat = new Chat();
    chat.#browser = browser;
    chat.server = await Server.startWith({ DORMOUSE_AUTH_SECRET: SECRET }, ...args);
    chat.proxy = await Proxy.start(chat.server.url);
    const environment = { DORMOUSE_AUTH_SECRET: SECRET };
    chat.#near = await ExamplePage.start("chat", chat.server.url, environment);
    chat.#far = await ExamplePage.start("chat", chat.proxy.url, environment);
    return chat;
  }

  async dispose() {
    await this.leave();
    await this.#near.stop();
    await this.#far.stop();
    await this.proxy.kill();
    await this.server.dispose();
  }

  /** Somebody in a channel, with a browser of their own. `isFar`: behind the network that can be broken. */
  async person(name, channel, { isFar = false, ...options } = {}) {
    const context = await this.#browser.newContext(options);
    context.setDefaultTimeout(PATIENCE_MS);
    const person = new ChatPerson(context, (isFar ? this.#far : this.#near).url);
    this.#people.push(person);
    await person.open("/");
    await person.at("name").fill(name);
    await person.at("name").press("Enter");
    await person.at("me").waitFor();
    await person.goTo(channel);
    return person;
  }

  /** Says something as somebody who has no page open. */
  async post(name, channel, content) {
    const body = JSON.stringify({ name });
    const { token } = await (await fetch(new URL("/token", this.#near.url), { method: "POST", body })).json();
    return this.server.mutate("channel.post", { id: channel, content }, token);
  }

  /** Closes everybody's browser. */
  async leave() {
    await Promise.all(this.#people.splice(0).map(({ context }) => context.close()));
  }
}

/** Somebody who chats. */
export class ChatPerson extends Visitor {
  /** Opens a channel, as a person does who has its address. */
  async goTo(channel) {
    await this.page.evaluate((hash) => (location.hash = hash), `#/${encodeURIComponent(channel)}`);
    await this.page.locator(`[data-talk="${channel}"][data-status=connected]`).waitFor();
    await this.at("messages").waitFor();
  }

  /** Writes and sends. */
  async say(text) {
    await this.at("composer").fill(text);
    await this.at("composer").press("Enter");
  }

  /** What is listed, from top to bottom, without threads. */
  async hears() {
    return this.at("messages").getByTestId("content").allTextContents();
  }

  /** Waits until exactly this is listed, all of it stored. */
  async hasHeard(...texts) {
    await this.page
      .waitForFunction(
        (expected) => {
          const messages = [...document.querySelectorAll("[data-testid=messages] [data-message]")];
          const said = messages.map((each) => each.querySelector("[data-testid=content]").textContent);
          const isStored = messages.every((each) => each.dataset.state === "sent");
          return isStored && JSON.stringify(said) === JSON.stringify(expected);
        },
        texts,
        { timeout: PATIENCE_MS },
      )
      .catch(async (err) => {
        throw new Error(`heard ${JSON.stringify(await this.hears())}, not ${JSON.stringify(texts)}`, { cause: err });
      });
  }

  /** Waits until so much is unread in a channel of the list. */
  async hasUnread(channel, count) {
    await this.page.locator(`[data-channel="${channel}"][data-unread="${count}"]`).waitFor();
  }

  /** A message, by what it says. */
  message(text) {
    return this.at("messages").locator("[data-message]", { hasText: text });
  }
}
