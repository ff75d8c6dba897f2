// As last-words.test.ts, on BOSH: what the client's requests do not show to have reached it is the core's.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type Answer, attribute, bodies, bosh, type Client, KeepAlive } from "../../edge/bosh/peer.ts";
import { until } from "../../support/wire.ts";

const RETURNED = "breakwater_sm_returned_stanzas_total";
const PRESENCE = "<presence xmlns='jabber:client'/>";

/** A client that has sent its presence; that request is held, and the clock stands. */
async function present(t: TestContext, attributes = {}) {
  const { wire, login } = await bosh(t, { turned: true });
  const { client, core } = await login({ channel: new KeepAlive(wire.edge.http), attributes });
  const held = client.post(PRESENCE);
  await core.expect(/<presence/);
  const before = await wire.edge.metric(RETURNED);
  const returned = async () => (await wire.edge.metric(RETURNED)) - before;
  const arrived = () => wire.edge.metric("breakwater_stanzas_total", { direction: "from_core" });
  return { wire, client, core, held, returned, arrived };
}

const ENDS: Record<string, { last: (client: Client) => Promise<Answer>; is: string }> = {
  "it sends a request outside the window": { last: (client) => client.postAs(client.rid + 50), is: "item-not-found" },
  "it sends what is no XML": {
    last: (client) => client.post("<message><</message>"),
    is: "bad-request|remote-stream-error",
  },
  "it sends what has no place": { last: (client) => client.post("<stream xmlns='x'/>"), is: "remote-stream-error" },
};

for (const [what, { last, is }] of Object.entries(ENDS)) {
  test(`when ${what}, what waits for a request is the core's`, async (t) => {
    const { client, core, held, returned, arrived } = await present(t);
    core.message("1");
    assert.deepEqual(bodies(await held), ["1"]);
    const before = await arrived();
    core.message("2");
    core.message("3");
    await until(async () => (await arrived()) === before + 2, "the edge has them");
    const answer = await last(client);
    assert.match(attribute(answer, "condition") ?? "", new RegExp(is));
    assert.deepEqual(bodies(answer), []);
    await core.ended;
    assert.equal(core.acked, 1, "a new request on the same connection shows that it has the first");
    assert.equal(await returned(), 2);
  });
}
