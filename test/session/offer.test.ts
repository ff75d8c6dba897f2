import assert from "node:assert/strict";
import { test } from "node:test";
import { Offer } from "../../src/session/offer.ts";
import { type Frame, KIND } from "../../src/xmpp/frame.ts";
import { StanzaFramer } from "../../src/xmpp/framer.ts";

const LIMITS = { maxBytes: 1e6, maxDepth: 100, maxElements: 1000, maxAttributes: 100 };
const SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
const BIND = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>";

function features(xml: string): Frame {
  const framer = new StanzaFramer(LIMITS);
  const open = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
  framer.feed(Buffer.from(`${open}<stream:features>${xml}</stream:features>`), true);
  framer.next();
  const frame = framer.next();
  assert.ok(frame !== null && frame !== "end" && frame.kind === KIND.features);
  return frame;
}

const offered = (xml: string, mechanisms: readonly string[] | null = null) =>
  new Offer(features(xml), mechanisms).toBytes().toString();

test("what the edge settles itself is taken from the core's features, wherever it stands", () => {
  for (const own of [
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>",
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<t:starttls xmlns:t='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<compression xmlns='http://jabber.org/features/compress'><method>zlib</method></compression>",
    "<sm xmlns='urn:xmpp:sm:3'/>",
    "<sm xmlns='urn:xmpp:sm:2'><optional/></sm>",
    "<s:sm xmlns:s='urn:xmpp:sm:3'/>",
    "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>",
    "<authentication xmlns='urn:xmpp:sasl:2'><mechanism>PLAIN</mechanism></authentication>",
  ]) {
    assert.equal(offered(`${own}${BIND}`), `<stream:features>${BIND.replaceAll("'", '"')}</stream:features>`);
    assert.equal(offered(`${BIND}${own}${own}`), `<stream:features>${BIND.replaceAll("'", '"')}</stream:features>`);
  }
});

test("what the edge does not know passes, in its order and with its content", () => {
  const xml = `<c xmlns="http://jabber.org/protocol/caps" ver="a&amp;b"/><x:y xmlns:x="urn:x"><x:z>&lt;t&gt; ü</x:z></x:y><register xmlns="http://jabber.org/features/iq-register"/>`;
  assert.equal(offered(xml), `<stream:features>${xml}</stream:features>`);
});

test("the core's own offer is remembered: the newest stream management, client state", () => {
  const core = (xml: string) => new Offer(features(xml), null).core;
  assert.deepEqual(core(BIND), { sm: null, csi: false });
  assert.deepEqual(core("<sm xmlns='urn:xmpp:sm:2'/><sm xmlns='urn:xmpp:sm:3'/>"), { sm: "urn:xmpp:sm:3", csi: false });
  assert.deepEqual(core("<sm xmlns='urn:xmpp:sm:2'/><csi xmlns='urn:xmpp:csi:0'/>"), {
    sm: "urn:xmpp:sm:2",
    csi: true,
  });
});

test("the mechanism list passes unedited, less -PLUS, or less all that the configuration does not name", () => {
  const list = (...names: string[]) =>
    `<mechanisms xmlns="${SASL}">${names.map((name) => `<mechanism>${name}</mechanism>`).join("")}</mechanisms>`;
  assert.match(offered(list("SCRAM-SHA-256", "PLAIN", "X-ODD")), new RegExp(list("SCRAM-SHA-256", "PLAIN", "X-ODD")));
  const offer = new Offer(features(list("SCRAM-SHA-1-PLUS", "SCRAM-SHA-1")), null);
  assert.deepEqual(offer.removedMechanisms, ["SCRAM-SHA-1-PLUS"]);
  assert.match(offer.toBytes().toString(), new RegExp(list("SCRAM-SHA-1")));
  assert.match(
    offered(list("SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN"), ["PLAIN", "SCRAM-SHA-1-PLUS"]),
    new RegExp(list("PLAIN")),
  );
  assert.match(offered(list(" SCRAM-SHA-1-PLUS\n", "PLAIN")), new RegExp(list("PLAIN")), "with space around it");
  assert.match(offered(list(" PLAIN\n"), ["PLAIN"]), /PLAIN/);
});
