import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { after, before, describe, type TestContext, test } from "node:test";
import { Lane, linkProfile, PROFILES } from "../support/link-profile.ts";
import { Random } from "../support/random.ts";
import { type CutKind, WeakLink, type WeakLinkOptions } from "../support/weak-link.ts";

/** One end of a connection: what it has got, and how it ended. */
class End {
  readonly socket: Socket;
  #chunks: Buffer[] = [];
  size = 0;
  ended: "open" | "fin" | "rst" = "open";
  #changed = new Set<() => void>();

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.size += chunk.length;
      this.#tell();
    });
    socket.once("end", () => {
      this.ended = "fin";
      this.#tell();
    });
    socket.once("error", () => {
      this.ended = "rst";
      this.#tell();
    });
  }

  get got(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  async until(fact: () => boolean): Promise<void> {
    while (!fact()) await new Promise<void>((resolve) => this.#changed.add(resolve));
  }

  #tell(): void {
    for (const resolve of this.#changed) resolve();
    this.#changed.clear();
  }
}

describe("weak link", { timeout: 300_000 }, () => {
  let server: Server;
  const accepted: End[] = [];
  let waiting: ((end: End) => void) | null = null;

  before(async () => {
    server = createServer({ allowHalfOpen: true }, (socket) => {
      const end = new End(socket);
      if (waiting) waiting(end);
      else accepted.push(end);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  });
  after(() => server.close());

  /** A relay, a client of it, and the server's end of that connection. */
  async function joined(t: TestContext, options: Partial<WeakLinkOptions> = {}) {
    const relay = await WeakLink.listen({ to: { port: (server.address() as { port: number }).port }, ...options });
    t.after(() => relay.close());
    const peer = new Promise<End>((resolve) => {
      waiting = resolve;
    });
    const client = new End(connect({ port: relay.port, host: relay.host, allowHalfOpen: true }));
    const far = await peer;
    waiting = null;
    t.after(() => {
      client.socket.destroy();
      far.socket.destroy();
    });
    return { relay, client, far };
  }

  async function eventually(fact: () => boolean): Promise<void> {
    while (!fact()) await new Promise((resolve) => setTimeout(resolve, 2));
  }

  test("passes a megabyte unchanged in both directions at once, and then the end", async (t) => {
    const { relay, client, far } = await joined(t);
    const up = Buffer.alloc(1 << 20, "up and away ");
    const down = Buffer.alloc(1 << 20, "down again ");
    client.socket.end(up);
    far.socket.write(down);
    await far.until(() => far.size === up.length && far.ended === "fin");
    await client.until(() => client.size === down.length);
    assert.ok(far.got.equals(up) && client.got.equals(down));
    assert.equal(client.ended, "open");
    assert.deepEqual([relay.stats.upBytes, relay.stats.downBytes, relay.stats.lostBytes], [1 << 20, 1 << 20, 0]);
  });

  test("a server that is not there resets the client", async (t) => {
    const relay = await WeakLink.listen({ to: { port: 1 } });
    t.after(() => relay.close());
    const client = new End(connect({ port: relay.port, host: relay.host }));
    await client.until(() => client.ended === "rst");
  });

  const told: Record<CutKind, [client: string, server: string]> = {
    fin: ["fin", "fin"],
    rst: ["rst", "rst"],
    silent: ["open", "open"],
    "client-rst": ["rst", "open"],
    "server-rst": ["open", "rst"],
  };
  for (const [kind, [clientSees, serverSees]] of Object.entries(told)) {
    test(`cut "${kind}": the client sees ${clientSees}, the server sees ${serverSees}, and bytes on their way are lost`, async (t) => {
      const { relay, client, far } = await joined(t);
      relay.freeze();
      client.socket.write("never seen above");
      far.socket.write("never seen below");
      await eventually(() => relay.queuedBytes === 32);
      relay.cut(kind as CutKind);
      relay.thaw();
      assert.equal(relay.links.size, 0);
      if (clientSees !== "open") await client.until(() => client.ended !== "open");
      if (serverSees !== "open") await far.until(() => far.ended !== "open");
      // What is still open may be written to, and nobody answers.
      if (clientSees === "open") client.socket.write("into the void");
      if (serverSees === "open") far.socket.write("into the void");
      const open = [clientSees, serverSees].filter((sees) => sees === "open").length;
      await eventually(() => relay.stats.lostBytes === 32 + 13 * open);
      assert.deepEqual([client.ended, far.ended], [clientSees, serverSees]);
      assert.equal(client.size + far.size, 0);
    });
  }

  test("one connection can be cut while another one of the same relay goes on", async (t) => {
    const { relay, client, far } = await joined(t);
    const peer = new Promise<End>((resolve) => {
      waiting = resolve;
    });
    const second = new End(connect({ port: relay.port, host: relay.host }));
    const secondFar = await peer;
    [...relay.links][0]!.cut("rst");
    await client.until(() => client.ended === "rst");
    await far.until(() => far.ended === "rst");
    second.socket.write("still here");
    await secondFar.until(() => secondFar.got.toString() === "still here");
  });

  test("a freeze holds bytes back in order until the thaw, in one direction if so told", async (t) => {
    const { relay, client, far } = await joined(t);
    relay.freeze("up");
    client.socket.write("one ");
    client.socket.write("two ");
    await eventually(() => relay.queuedBytes === 8);
    far.socket.write("down passes");
    await client.until(() => client.got.toString() === "down passes");
    assert.equal(far.size, 0);
    client.socket.write("three");
    relay.thaw();
    await far.until(() => far.got.toString() === "one two three");
  });

  test("a sender that does not stop is slowed by the relay's full queue", async (t) => {
    const { relay, client, far } = await joined(t, { profile: linkProfile({ queueBytes: 16_384 }) });
    relay.freeze();
    const size = 16 << 20;
    client.socket.write(Buffer.alloc(size, "x"));
    await eventually(() => relay.queuedBytes >= 16_384);
    assert.ok(relay.queuedBytes < 16_384 + 65_536 + 1, `holds ${relay.queuedBytes} bytes`);
    assert.ok(client.socket.writableLength > 0, "the client still has bytes to write");
    relay.thaw();
    await far.until(() => far.size === size || far.ended !== "open");
    assert.equal(far.size, size);
  });

  test("a round trip takes at least the delays of both directions", async (t) => {
    const { client, far } = await joined(t, { profile: linkProfile({ delayMs: 60, jitterMs: 5 }) });
    client.socket.write("hello");
    await far.until(() => far.size === 5); // with the handshake's round trip
    const started = performance.now();
    client.socket.write("ping!");
    await far.until(() => far.size === 10);
    far.socket.write("pong!");
    await client.until(() => client.size === 5);
    assert.ok(performance.now() - started >= 119);
  });

  test("bytes take the time that the bandwidth allows", async (t) => {
    const { client, far } = await joined(t, { profile: linkProfile({ bitsPerSecond: 800_000 }) });
    const started = performance.now();
    client.socket.write(Buffer.alloc(20_000));
    await far.until(() => far.size === 20_000);
    assert.ok(performance.now() - started >= 200); // 20,000 bytes at 100,000 bytes a second, plus headers
  });

  test("a new profile takes effect on connections that are open", async (t) => {
    const { relay, client, far } = await joined(t);
    relay.setProfile(linkProfile({ delayMs: 80 }));
    const started = performance.now();
    client.socket.write("slower");
    await far.until(() => far.size === 6);
    assert.ok(performance.now() - started >= 79);
  });

  test("a relay that refuses resets newcomers and leaves the others alone", async (t) => {
    const { relay, client, far } = await joined(t);
    relay.refuses = true;
    const second = new End(connect({ port: relay.port, host: relay.host }));
    await second.until(() => second.ended !== "open");
    client.socket.write("unmoved");
    await far.until(() => far.got.toString() === "unmoved");
  });
});

describe("the timing of a link", () => {
  const arrivals = (profile: keyof typeof PROFILES, seed: number) => {
    const lane = new Lane(PROFILES[profile].down, new Random(seed));
    return Array.from({ length: 500 }, (_, i) => lane.arrival(i * 10, 1000));
  };

  for (const profile of Object.keys(PROFILES) as (keyof typeof PROFILES)[]) {
    test(`${profile}: the same seed gives the same arrivals, in order and never before the delay`, () => {
      const times = arrivals(profile, 7);
      assert.deepEqual(arrivals(profile, 7), times);
      times.forEach((time, i) => {
        assert.ok(time >= i * 10 + PROFILES[profile].down.delayMs);
        assert.ok(i === 0 || time >= times[i - 1]!);
      });
    });
  }

  test("another seed gives other arrivals", () => {
    assert.notDeepEqual(arrivals("3g", 8), arrivals("3g", 7));
  });

  test("losses come about as often as the profile says, in bursts", () => {
    const lane = new Lane(PROFILES["lossy-wifi"].up, new Random(3));
    for (let i = 0; i < 10_000; i++) lane.arrival(i * 1000, 1000);
    // 5 % start a burst, every second one goes on: 0.05 / (1 - 0.5) of the segments, twice as seldom at most.
    assert.ok(lane.losses > 700 && lane.losses < 1300, `${lane.losses} losses`);
  });

  test("bandwidth is what is left after the headers", () => {
    const lane = new Lane(linkProfile({ bitsPerSecond: 8000 }).up, new Random(1));
    assert.equal(lane.arrival(0, 960), 1000);
    assert.equal(lane.arrival(0, 460), 1500);
  });
});
