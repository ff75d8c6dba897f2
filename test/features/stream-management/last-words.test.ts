// The end of a session whose client has no XEP-0198, whoever ends it and however: what the client has does not come again,
// what it has not got is the core's, and it still hears why. No time passes in these tests: no tick helps.
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import type { RawClient } from "../../support/clients/raw-client.ts";
import type { WebSocketBridge } from "../../support/clients/websocket-bridge.ts";
import type { FakeStream } from "../../support/fake-core.ts";
import { until, Wire, type WireOptions } from "../../support/wire.ts";

const RETURNED = "breakwater_sm_returned_stanzas_total";
const STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams";
const CONFLICT = `<stream:error><conflict xmlns='${STREAM_ERRORS}'/></stream:error></stream:stream>`;

const WAYS = ["plaintext", "starttls", "tls", "ws", "wss"] as const;
type Way = (typeof WAYS)[number];

/** A client that has sent its presence, on a core that counts; the clock stands. */
async function present(t: TestContext, way: Way, options: WireOptions = {}) {
  const wire = await Wire.start(t, { turned: true, ...options });
  const { plaintext, starttls, tls, http, https, ca } = wire.edge;
  const { client, core } = await login(
    wire,
    {
      plaintext: { port: plaintext },
      starttls: { port: starttls, tls: "starttls" as const, ca },
      tls: { port: tls, tls: "direct" as const, ca },
      ws: { webSocket: `ws://localhost:${http}/ws` },
      wss: { webSocket: `wss://localhost:${https}/ws`, ca },
    }[way],
  );
  client.presence();
  await core.expect(/<presence/);
  return { wire, client, core, before: await wire.edge.metric(RETURNED) };
}

async function login(wire: Wire, options: Parameters<Wire["connect"]>[0] & { tls?: string }) {
  if (options?.tls !== "starttls") return wire.login(options as object);
  const client = await wire.connect(options as object);
  await client.open();
  await client.startTls();
  await client.authenticate({ user: "alice", password: "pw" });
  await client.open();
  await client.bind("phone");
  return { client, core: await wire.core.nextBound() };
}

interface Scene {
  readonly wire: Wire;
  readonly client: RawClient;
  readonly core: FakeStream;
}

/** How it ends, and what the client hears last. `together`: in one piece with the last message from the core. */
interface End {
  readonly together?: string;
  end?(scene: Scene): void;
  readonly hears?: RegExp;
}

const ENDS: Record<string, End> = {
  "it hangs up": { end: ({ client }) => client.hangUp() },
  "its connection is reset": { end: ({ client }) => client.drop() },
  "it logs out": { end: ({ client }) => void client.end() },
  "it sends what has no place": {
    end: ({ client }) => client.write("<stream xmlns='x'/>"),
    hears: /unsupported-stanza-type/,
  },
  "it opens a second stream": {
    end: ({ client }) => client.write(client.streamHeader()),
    hears: /not-well-formed|bad-format|restricted-xml/,
  },
  "this process stops": { end: ({ wire }) => void wire.edge.breakwater.drainer.begin(), hears: /system-shutdown/ },
  "it is sent elsewhere": {
    end: ({ wire }) => void wire.edge.breakwater.drainer.begin({ to: "other.example" }),
    hears: /see-other-host|system-shutdown/,
  },
  "another login takes its place": { end: ({ core }) => core.error("conflict"), hears: /conflict/ },
  "another login takes its place, right behind a message": { together: CONFLICT, hears: /conflict/ },
  "its core ends the stream": { end: ({ core }) => core.write("</stream:stream>") },
  "its core ends the stream, right behind a message": { together: "</stream:stream>" },
  "its core cannot count": { end: ({ core }) => core.ack(4711), hears: /internal-server-error/ },
  "it logs out in one piece with a last stanza": {
    end: ({ client }) => client.write("<message to='bob@localhost'><body>bye</body></message></stream:stream>"),
  },
  "it becomes unavailable and logs out": {
    end: ({ client }) => client.write("<presence type='unavailable'/></stream:stream>"),
  },
};

for (const way of WAYS) {
  describe(`over ${way}, what a client has got does not go back to the core`, () => {
    for (const [what, { together, end, hears }] of Object.entries(ENDS)) {
      test(`when ${what}`, async (t) => {
        const { wire, client, core, before } = await present(t, way);
        for (const text of ["1", "2"]) core.message(text);
        if (together === undefined) {
          core.message("3");
          await client.expect(/>3</);
        } else {
          core.sent++;
          core.write(`<message from='bob@localhost/x' to='${core.jid}'><body>3</body></message>${together}`);
        }
        end?.({ wire, client, core });
        if (together !== undefined) await client.expect(/>3</);
        if (hears !== undefined) await client.expect(hears);
        await core.ended;
        assert.equal(core.acked, core.sent);
        assert.equal((await wire.edge.metric(RETURNED)) - before, 0);
      });
    }
  });
}

for (const way of WAYS) {
  test(`over ${way}, what waits for a client that reads nothing is the core's when its connection is reset`, async (t) => {
    const { wire, client, core, before } = await present(t, way);
    const { ws } = client.socket as unknown as Partial<WebSocketBridge>;
    if (ws === undefined) client.pause();
    else ws.pause();
    await until(() => {
      if (core.socket.writableLength >= 1_000_000) return true;
      core.message("x".repeat(60_000));
      return false;
    }, "the core is asked to wait");
    // Nothing of a client is read any more for whom so much waits, and that is found once it has sent more than Node keeps: so
    // the reset is an error of the write.
    const read = async () => await wire.edge.metric("breakwater_link_bytes_total", { direction: "from_client" });
    const soFar = await read();
    client.message("bob@localhost", "y".repeat(200_000));
    await until(async () => (await read()) > soFar && (await read()) > soFar, "it is read no further");
    if (ws === undefined) client.drop();
    else ws.terminate();
    await core.ended;
    const returned = (await wire.edge.metric(RETURNED)) - before;
    assert.ok(
      returned >= 3,
      `${returned} of ${core.sent}: more than 256 KiB waited, so the client was not read, either`,
    );
    assert.ok(core.acked + returned < core.sent, "what was not read is the core's, too");
  });
}

test("a core that agrees only behind a logout: what it sends then is the core's, and not also the client's", async (t) => {
  const { wire, client, core } = await present(t, "plaintext", { enable: "silent" });
  const phase = (phase: string) => wire.edge.metric("breakwater_sessions", { phase });
  core.pause();
  client.write("</stream:stream>");
  await until(async () => (await phase("draining")) === 1, "it logs out");
  const arrived = () => wire.edge.metric("breakwater_stanzas_total", { direction: "from_core" });
  const before = await arrived();
  core.sm = { ns: "urn:xmpp:sm:3", id: "late", max: null };
  core.write("<enabled xmlns='urn:xmpp:sm:3'/>");
  core.message("stored");
  await until(async () => (await arrived()) > before, "it has come");
  core.resume();
  await core.ended;
  await client.closed;
  assert.deepEqual([core.acked, client.takeBodies()], [0, []]);
});
