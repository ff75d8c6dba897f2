import assert from "node:assert/strict";
import { test } from "node:test";
import { TicketKeys } from "../../src/tls/tickets.ts";
import { TurnedClock } from "../support/clock.ts";
import { certificateFor, tlsServer, visit } from "./support.ts";

const SECRET = "0123456789abcdef0123456789abcdef";

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  const only = { minVersion: version, maxVersion: version } as const;

  test(`${version}: a client resumes with its ticket until the key changes, and gets in after that`, async (t) => {
    const server = await tlsServer(t, { domains: ["chat.example", "talk.example"], rotateSeconds: 3600 });
    // The default domain and one that is chosen by SNI: their contexts have to agree on the key.
    for (const servername of ["chat.example", "talk.example"]) {
      const first = await visit(server, { ...only, servername });
      assert.equal(first.resumed, false);
      const second = await visit(server, { ...only, servername, session: first.session! });
      assert.deepEqual([second.resumed, second.name === "" || second.name === servername], [true, true]);
      server.clock.advance({ seconds: 3601 });
      const third = await visit(server, { ...only, servername, session: first.session! });
      assert.deepEqual([third.resumed, third.name], [false, servername]);
      const fourth = await visit(server, { ...only, servername, session: third.session! });
      assert.equal(fourth.resumed, true);
    }
    assert.deepEqual(server.errors, []);
  });

  test(`${version}: edges with the same secret resume each other's sessions`, async (t) => {
    const clock = new TurnedClock();
    const one = await tlsServer(t, { clock, secret: SECRET });
    const other = await tlsServer(t, { clock, secret: SECRET });
    const stranger = await tlsServer(t, { clock, secret: SECRET.replace("0", "1") });
    const { session } = await visit(one, only);
    assert.equal((await visit(other, { ...only, session: session! })).resumed, true);
    assert.equal((await visit(stranger, { ...only, session: session! })).resumed, false);
  });
}

test("a session survives new certificates: the ticket key stays", async (t) => {
  const server = await tlsServer(t);
  const first = await visit(server);
  const { certificate, key } = certificateFor("chat.example");
  server.contexts.set({ domain: "chat.example", certificates: [{ chain: certificate, key }] });
  assert.equal((await visit(server, { session: first.session! })).resumed, true);
});

test("keys change at the same moment on every edge, whenever it was started", () => {
  const clock = new TurnedClock();
  const early = new TicketKeys({ clock, rotateSeconds: 600, secret: SECRET });
  clock.advance({ seconds: 250 });
  const late = new TicketKeys({ clock, rotateSeconds: 600, secret: SECRET });
  assert.deepEqual(early.current, late.current);
  const before = early.current;
  clock.advance({ seconds: 349 });
  assert.equal(early.current, before);
  clock.advance({ seconds: 1 });
  assert.notDeepEqual(early.current, before);
  assert.deepEqual(early.current, late.current);
});

test("without a secret every key is new, and 48 bytes", () => {
  const clock = new TurnedClock();
  const one = new TicketKeys({ clock, rotateSeconds: 600 });
  const other = new TicketKeys({ clock, rotateSeconds: 600 });
  assert.equal(one.current.length, 48);
  assert.notDeepEqual(one.current, other.current);
  const before = one.current;
  clock.advance({ seconds: 600 });
  assert.notDeepEqual(one.current, before);
});

test("closed keys change no more, and a listener that was let go hears nothing", () => {
  const clock = new TurnedClock();
  const keys = new TicketKeys({ clock, rotateSeconds: 600 });
  let heard = 0;
  const stop = keys.onRotated(() => heard++);
  clock.advance({ seconds: 600 });
  stop();
  clock.advance({ seconds: 600 });
  const last = keys.current;
  keys.close();
  clock.advance({ seconds: 6000 });
  assert.deepEqual([heard, keys.current === last], [1, true]);
});
