// The quickstart's page, as a newcomer finds it: converse.js in Chromium, in front of real cores.
import assert from "node:assert/strict";
import { after, before, describe, type TestContext, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { type Browser, chromium, type Frame, type Page } from "playwright-core";
import { startDemoCore } from "../../scripts/quickstart/core.ts";
import { DemoEdge } from "../../scripts/quickstart/edge.ts";
import type { QuickstartOptions } from "../../scripts/quickstart/options.ts";
import { RawClient } from "../support/clients/raw-client.ts";
import { until } from "../support/wire.ts";

const CHROMIUM = "/usr/bin/chromium";
const OFFLINE_MS = 10_000;
// Over BOSH strophe.js waits 27 s before its fourth try.
const PATIENCE_MS = 90_000;
const ONE = "user1@localhost";
const TWO = "user2@localhost";

// Offline, Chromium holds back what an open WebSocket sends. The close frame of a page that gives it up may slip through,
// or not: a matter of luck. A network that is lost takes none, and the edge finds out when the client returns.
const NO_FAREWELL = `{
  const { close } = WebSocket.prototype;
  WebSocket.prototype.close = function (...words) {
    if (navigator.onLine) close.apply(this, words);
  };
}`;

type Core = "prosody" | "ejabberd";

/** What the quickstart starts: a core with two accounts, and the edge with the page. */
async function startDemo(t: TestContext, kind: Core): Promise<DemoEdge> {
  const ports = { starttls: 0, tls: 0, https: 0, ops: 0 };
  const options: QuickstartOptions = {
    core: kind,
    upstream: null,
    domain: "localhost",
    accounts: 2,
    ports,
    json: null,
  };
  const core = await startDemoCore(options);
  t.after(() => core.stop());
  const edge = await DemoEdge.start(options, { kind, connect: `tcp://127.0.0.1:${core.port}`, proxyProtocol: "off" });
  t.after(() => edge.stop());
  return edge;
}

/** One account's converse.js: a tab, or a frame of one. */
class Chat {
  readonly #frame: Frame;

  constructor(frame: Frame) {
    this.#frame = frame;
  }

  async say(text: string): Promise<void> {
    await this.#frame.fill(".chat-textarea", text);
    await this.#frame.press(".chat-textarea", "Enter");
  }

  async waitFor(text: string): Promise<void> {
    await this.#frame.getByText(text, { exact: true }).first().waitFor({ timeout: PATIENCE_MS });
  }

  /** The texts that stand there. */
  shown(): Promise<string[]> {
    return this.#frame.locator(".chat-msg__text").allInnerTexts();
  }
}

/** A page of user1 and a TCP client of user2 that write to each other, and what must have arrived. */
class Conversation {
  readonly #chat: Chat;
  readonly #client: RawClient;
  readonly #fromClient: string[] = [];
  readonly #fromPage: string[] = [];
  readonly #received: string[] = [];

  constructor(chat: Chat, client: RawClient) {
    this.#chat = chat;
    this.#client = client;
  }

  clientSays(text: string): void {
    this.#client.message(ONE, text);
    this.#fromClient.push(text);
  }

  /**
   * One more message each way; then all of them are there, each once, and those of one sender in their order. What was missed
   * comes by itself, before that: what the archive and the stream bring at once converse.js may leave in another order.
   */
  async bothWays(when: string): Promise<void> {
    await this.#isWhole(`before one more, ${when}`);
    await nextSecond();
    this.clientSays(`to the page, ${when}`);
    await this.#chat.waitFor(`to the page, ${when}`);
    await this.#chat.say(`from the page, ${when}`);
    this.#fromPage.push(`from the page, ${when}`);
    this.#received.push((await this.#client.expect(/<body>/)).text("body")!);
    await this.#client.fence();
    assert.deepEqual([...this.#received, ...this.#client.takeBodies()], this.#fromPage);
    await this.#isWhole(when);
  }

  // Between the two senders, converse.js sorts by the archive's time.
  async #isWhole(when: string): Promise<void> {
    const own = (text: string) => text.startsWith("from the page");
    const ordered = (shown: string[]) => [shown.filter((text) => !own(text)), shown.filter(own)];
    const expected = [this.#fromClient, this.#fromPage];
    await until(
      async () => isDeepStrictEqual(ordered(await this.#chat.shown()), expected),
      `all is shown ${when}`,
    ).catch(
      () => {}, // what is shown instead stands in the assertion
    );
    assert.deepEqual(ordered(await this.#chat.shown()), expected, when);
  }
}

/**
 * What a page finds in Prosody's archive has a time in whole seconds, what the stream brought has the time when it came. By
 * these converse.js sorts: of two messages of one second, the one from the archive stands first.
 */
async function nextSecond(): Promise<void> {
  const second = () => Math.floor(Date.now() / 1000);
  const last = second();
  await until(() => second() > last, "the archive's next second");
}

/** Over WebSocket it resolves when the page has found out: its next connection has failed. */
async function loseNetwork(page: Page, transport: "websocket" | "bosh"): Promise<void> {
  if (transport === "bosh") return page.context().setOffline(true);
  const failed = new Promise<void>((resolve) => {
    page.on("websocket", (socket) => void socket.on("socketerror", () => resolve()));
  });
  await page.context().setOffline(true);
  await failed;
}

async function metric(edge: DemoEdge, series: string): Promise<number> {
  const metrics = await (await fetch(edge.metricsUrl)).text();
  const line = metrics.split("\n").find((each) => each.startsWith(`${series} `));
  return Number(line?.slice(series.length) ?? 0);
}

const resumes = (edge: DemoEdge) => metric(edge, 'breakwater_sm_resumes_total{result="resumed"}');

describe("the quickstart's page in Chromium", { concurrency: true }, () => {
  let browser: Browser;
  before(async () => {
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  });
  after(() => browser.close());

  async function open(t: TestContext, url: string): Promise<Page> {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    t.after(() => context.close());
    const page = await context.newPage();
    await page.addInitScript(NO_FAREWELL);
    await page.goto(url);
    return page;
  }

  for (const [kind, transport] of [
    ["ejabberd", "websocket"],
    ["prosody", "bosh"],
  ] as const) {
    test(`over ${transport} in front of ${kind} it is reloaded and loses the network, and no message is lost or doubled`, async (t) => {
      const edge = await startDemo(t, kind);
      const page = await open(t, `${edge.pageUrl}chat?${new URLSearchParams({ as: ONE, transport })}`);
      const client = await RawClient.login({
        port: edge.tls,
        tls: "direct",
        ca: edge.ca,
        user: "user2",
        password: "pw",
      });
      client.presence();
      const chat = new Chat(page.mainFrame());
      const conversation = new Conversation(chat, client);
      await page.waitForSelector(".chat-textarea");
      await conversation.bothWays("at first");
      await page.reload();
      await conversation.bothWays("after a reload");

      await loseNetwork(page, transport);
      for (let part = 1; part <= 5; part++) {
        conversation.clientSays(`${part}, while the page is away`);
        await new Promise((resolve) => setTimeout(resolve, OFFLINE_MS / 5));
      }
      await client.fence();
      const away = await chat.shown();
      assert.ok(!away.some((text) => text.startsWith("5,")), "the page is away");
      await page.context().setOffline(false);
      await conversation.bothWays("back on the network");
      await page.reload();
      await conversation.bothWays("after another reload");
      assert.equal(await resumes(edge), transport === "websocket" ? 3 : 0); // BOSH goes on where it was
      await client.end();
    });
  }

  test("a copy of a tab over BOSH is a client of its own, and leaves the tab its session", async (t) => {
    const edge = await startDemo(t, "ejabberd");
    const page = await open(t, `${edge.pageUrl}chat?${new URLSearchParams({ as: ONE, transport: "bosh" })}`);
    const client = await RawClient.login({ port: edge.tls, tls: "direct", ca: edge.ca, user: "user2", password: "pw" });
    client.presence();
    const tab = new Chat(page.mainFrame());
    await tab.say("from the tab");
    await client.expect(/from the tab/);
    // A page opened by a page begins with a copy of its sessionStorage, like a duplicated tab.
    const opened = page.context().waitForEvent("page");
    await page.evaluate("void window.open(location.href)");
    const copy = new Chat((await opened).mainFrame());
    for (const when of ["once", "again"]) {
      await copy.say(`from the copy, ${when}`);
      await client.expect(new RegExp(`from the copy, ${when}`));
      await tab.say(`from the tab, ${when}`);
      await client.expect(new RegExp(`from the tab, ${when}`));
      client.message(ONE, `for both, ${when}`);
      await Promise.all([tab, copy].map((chat) => chat.waitFor(`for both, ${when}`)));
    }
    for (const end of ["core-closed", "link-lost"]) {
      assert.equal(await metric(edge, `breakwater_sessions_closed_total{reason="${end}"}`), 0, end);
    }
    await client.end();
  });

  test("from BOSH to WebSocket and back by the switch: no pane goes on with a session that is over", async (t) => {
    const edge = await startDemo(t, "prosody");
    const page = await open(t, `${edge.pageUrl}?transport=bosh`);
    for (const transport of ["WebSocket", "BOSH"]) {
      const [one, two] = await Promise.all([ONE, TWO].map((jid) => pane(page, jid)));
      await one!.say(`before ${transport}`);
      await two!.waitFor(`before ${transport}`);
      await page.getByRole("link", { name: transport, exact: true }).click();
      await page.waitForURL(`**/?transport=${transport.toLowerCase()}`);
    }
    const [one, two] = await Promise.all([ONE, TWO].map((jid) => pane(page, jid)));
    await two!.say("on BOSH again");
    await one!.waitFor("on BOSH again");
    assert.equal(await metric(edge, 'breakwater_bosh_refused_total{condition="item-not-found"}'), 0);
  });

  test("its two accounts write to each other, also after a reload, and all of it comes from the edge", async (t) => {
    const edge = await startDemo(t, "prosody");
    const page = await open(t, "about:blank");
    const elsewhere: string[] = [];
    const complaints: string[] = [];
    page.on("request", (request) => void (request.url().startsWith(edge.pageUrl) || elsewhere.push(request.url())));
    page.on(
      "console",
      (line) => void (line.text().includes("Content Security Policy") && complaints.push(line.text())),
    );
    await page.goto(edge.pageUrl);
    for (const when of ["at first", "after a reload"]) {
      const [one, two] = await Promise.all([ONE, TWO].map((jid) => pane(page, jid)));
      await one!.say(`hello ${TWO}, ${when}`);
      await two!.waitFor(`hello ${TWO}, ${when}`);
      await two!.say(`hello ${ONE}, ${when}`);
      await one!.waitFor(`hello ${ONE}, ${when}`);
      await page.reload();
    }
    assert.deepEqual([elsewhere, complaints], [[], []]);
    assert.equal(await resumes(edge), 2);
  });
});

async function pane(page: Page, jid: string): Promise<Chat> {
  const frame = await page.waitForSelector(`iframe[title="${jid}"]`);
  return new Chat((await frame.contentFrame())!);
}
