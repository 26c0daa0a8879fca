// What a person is told about the connection, and who may have one.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { after, before, test } from "node:test";

import { launch, NETWORK_COMPLAINT, withTabs } from "./tabs.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

test("the page says whether it is connected, and how it goes on", async () => {
  await withTabs(browser, {}, async ({ server, openTab }) => {
    const tab = await openTab();
    await tab.isConnected();
    assert.equal(await tab.at("connection-detail").textContent(), "");

    await server.kill();

    await tab.shows("connection-state", "reconnecting");
    await tab.shows("note-connection-state", "reconnecting");
    await tab.page.waitForFunction(() => {
      const detail = document.querySelector('[data-testid="connection-detail"]').textContent;
      return /cannot be reached · attempt \d+ · in \d+ s/.test(detail);
    });

    await server.start();
    await tab.isConnected();
    await tab.shows("connection-detail", "");
  });
});

test("a tab that gets the network back reconnects at once", async () => {
  await withTabs(browser, {}, async ({ server, context, openTab }) => {
    const tab = await openTab();
    await tab.isConnected();
    await server.kill();
    // The eighth back-off is up to 30 s: a test that waited for it would show.
    await tab.page.waitForFunction(() => {
      const detail = document.querySelector('[data-testid="connection-detail"]').textContent;
      return Number(/attempt (\d+)/.exec(detail)?.[1]) >= 5;
    });
    await context.setOffline(true);
    await server.start();
    await server.mutate("counter.increment", { name: "my-counter" });

    await context.setOffline(false);

    await tab.shows("connection-state", "connected");
    await tab.shows("counter-value", 1);
  });
});

test("an error is told in words, and goes when something goes right", async () => {
  await withTabs(browser, {}, async ({ openTab }) => {
    const tab = await openTab();
    await tab.isConnected();

    await tab.fill("counter-amount", "");
    await tab.click("counter-increment");
    await tab.shows("error", "Give a whole number.");
    await tab.fill("counter-amount", "9007199254740992");
    await tab.click("counter-increment");
    await tab.shows("error", "Numbers here stay within ±9,007,199,254,740,991.");
    await tab.fill("counter-amount", "1");
    await tab.click("counter-increment");
    await tab.shows("counter-value", 1);
    await tab.at("error").waitFor({ state: "hidden" });

    await tab.fill("counter-amount", "9007199254740991");
    await tab.click("counter-increment");
    await tab.at("error").waitFor();
    assert.match(await tab.at("error").textContent(), /9007199254740991/);
    assert.equal(await tab.at("counter-value").textContent(), "1");
    await tab.click("error-dismiss");
    await tab.at("error").waitFor({ state: "hidden" });
  });
});

test("a name that no object can have is refused, and the counter stays", async () => {
  await withTabs(browser, {}, async ({ openTab }) => {
    const tab = await openTab("/?counter=good");
    await tab.isConnected();

    for (const name of ["", "..", "x".repeat(257)]) {
      await tab.fill("counter-name", name);
      await tab.click("counter-open");
      await tab.at("error").waitFor();
      await tab.click("error-dismiss");
    }

    await tab.click("counter-increment");
    await tab.shows("counter-value", 1);
    assert.match(tab.page.url(), /counter=good&/);
    assert.deepEqual(tab.complaints, []);
  });
});

test("a page of an Origin that is not allowed gets no socket, one that is allowed does", async () => {
  const other = await listen(http.createServer((request, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><link rel=icon href=data:,><title>somebody else's page</title>");
  }));
  // Resolves to this machine, and is on nobody's list.
  const origin = `http://elsewhere.localhost:${other.address().port}`;
  const opensFor = async (args) => {
    let outcome;
    await withTabs(browser, { args }, async ({ server, context }) => {
      const page = await context.newPage();
      await page.goto(origin);
      outcome = await page.evaluate((url) => new Promise((resolve) => {
        const socket = new WebSocket(url);
        socket.onopen = () => resolve("open");
        socket.onclose = () => resolve("refused");
      }), `${server.url.replace("http", "ws")}/ws/counter/my-counter`);
    });
    return outcome;
  };

  try {
    assert.equal(await opensFor([]), "refused");
    assert.equal(await opensFor(["--allow-origin", origin]), "open");
  } finally {
    other.close();
  }
});

test("a refused handshake is explained on the page, and not tried again by itself", async () => {
  await withTabs(browser, {}, async ({ server, openTab }) => {
    // As if the page were served under a name that the server does not know.
    const proxy = await listen(forwardingProxy(new URL(server.url)));
    const { port } = proxy.address();

    try {
      const tab = await openTab(`http://elsewhere.localhost:${port}/`);
      await tab.shows("connection-state", "closed");

      await tab.shows("connection-detail", "the server does not allow this page's origin");
      await tab.at("connection-again").waitFor();
      await tab.click("connection-again");
      await tab.shows("connection-state", "closed");
      assert.deepEqual(tab.complaints.filter((text) => !NETWORK_COMPLAINT.test(text)), []);
    } finally {
      proxy.close();
    }
  });
});

async function listen(server) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** Forwards everything, with the `Host` that the target expects and the `Origin` that the browser sent. */
function forwardingProxy({ hostname, port, host }) {
  const proxy = http.createServer((request, response) => {
    const { method, url } = request;
    const headers = { ...request.headers, host };
    const forwarded = http.request({ hostname, port, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    request.pipe(forwarded);
  });
  proxy.on("upgrade", ({ method, url, headers }, client) => {
    const target = net.connect(port, hostname, () => {
      const lines = Object.entries({ ...headers, host }).map(([name, value]) => `${name}: ${value}`);
      target.write(`${method} ${url} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
      target.pipe(client).pipe(target);
    });
    for (const end of [client, target]) end.on("error", () => end.destroy());
  });
  return proxy;
}
