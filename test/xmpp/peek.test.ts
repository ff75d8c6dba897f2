import assert from "node:assert/strict";
import { test } from "node:test";
import type { Frame } from "../../src/xmpp/frame.ts";
import { StanzaFramer } from "../../src/xmpp/framer.ts";
import { NS } from "../../src/xmpp/ns.ts";
import { peek } from "../../src/xmpp/peek.ts";
import { HEADER, LIMITS } from "./framing.ts";

/** `text` as a frame of a stream with this header. */
function frameOf(text: string, header = HEADER): Frame {
  const framer = new StanzaFramer(LIMITS);
  framer.feed(Buffer.from(header + text), true);
  framer.next();
  const frame = framer.next();
  assert(frame !== null && frame !== "end");
  return frame;
}

test("an attribute of the top tag is found by its name as written, and decoded", () => {
  const frame = frameOf(
    "<iq type = 'get'\n\tto=\"a'b\" id='&lt;&#x20AC;\t&amp;\r\n' xml:lang='de' é='ü' e=''><x type='set' from='inner'/></iq>",
  );
  assert.equal(peek.attr(frame, "type"), "get");
  assert.equal(peek.attr(frame, "to"), "a'b");
  assert.equal(peek.attr(frame, "id"), "<€ & ");
  assert.equal(peek.attr(frame, "xml:lang"), "de");
  assert.equal(peek.attr(frame, "é"), "ü");
  assert.equal(peek.attr(frame, "e"), "");
  for (const name of ["from", "lang", "typ", "types", "x", ""]) assert.equal(peek.attr(frame, name), null);
});

test("references to white space stay what they are, literal white space becomes spaces (XML 1.0 §3.3.3)", () => {
  assert.equal(peek.attr(frameOf("<a b='1&#10;2&#13;&#10;3\r\n4\r5\t6'/>"), "b"), "1\n2\r\n3 4 5 6");
});

test("comparing an attribute compares its value, not its spelling", () => {
  const frame = frameOf("<iq a='set' b='s&#101;t' c='' d='ü' e='a\tb'/>");
  assert.equal(peek.attrEquals(frame, "a", "set"), true);
  assert.equal(peek.attrEquals(frame, "b", "set"), true);
  assert.equal(peek.attrEquals(frame, "c", ""), true);
  assert.equal(peek.attrEquals(frame, "d", "ü"), true);
  assert.equal(peek.attrEquals(frame, "e", "a b"), true);
  for (const other of ["se", "sett", "Set", "", "s&#101;t"]) assert.equal(peek.attrEquals(frame, "a", other), false);
  assert.equal(peek.attrEquals(frame, "missing", ""), false);
});

test("all attributes come in their order", () => {
  const header = "<s:stream xmlns:s='u' to = \"a\" from='&quot;'\nversion='1.0' >";
  const framer = new StanzaFramer(LIMITS);
  framer.feed(Buffer.from(header), true);
  const frame = framer.next() as Frame;
  assert.deepEqual(
    [...peek.attributes(frame)],
    [
      ["xmlns:s", "u"],
      ["to", "a"],
      ["from", '"'],
      ["version", "1.0"],
    ],
  );
  assert.deepEqual([...peek.attributes(frameOf("<a/>"))], []);
  assert.deepEqual([...peek.attributes(frameOf("<a b='/>'/>"))], [["b", "/>"]]);
});

test("a name is local, without its prefix", () => {
  assert.equal(peek.name(frameOf("<iq/>")), "iq");
  assert.equal(peek.name(frameOf("<stream:error></stream:error>")), "error");
  assert.equal(peek.name(frameOf("<имя>x</имя>")), "имя");
});

test("the first child is found behind text and CDATA, with its namespace", () => {
  const cases: readonly (readonly [string, string, string | null])[] = [
    ["<iq><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "bind", NS.bind],
    ["<iq>text > <![CDATA[<no/>]]> <a b='<' xmlns='u:&amp;'>x</a></iq>".replace("'<'", "'&lt;'"), "a", "u:&"],
    ["<iq><a/></iq>", "a", NS.client],
    ["<iq xmlns='u'><a/></iq>", "a", "u"],
    ["<iq xmlns:p='u'><p:a/></iq>", "a", "u"],
    ["<iq xmlns:p='u'><p:a xmlns:p='v' xmlns='w'/></iq>", "a", "v"],
    ["<iq><xml:a/></iq>", "a", NS.xml],
    ["<iq><stream:a/></iq>", "a", null],
  ];
  for (const [text, name, xmlns] of cases) assert.deepEqual(peek.firstChild(frameOf(text)), { name, xmlns }, text);
  for (const text of ["<iq/>", "<iq></iq>", "<iq>text<![CDATA[<a/>]]></iq>"])
    assert.equal(peek.firstChild(frameOf(text)), null);
});

test("under another default namespace a child without one of its own is unknown, not jabber:client", () => {
  const header = "<s:stream xmlns:s='u:s' xmlns='u:d'>";
  assert.deepEqual(peek.firstChild(frameOf("<a><b/></a>", header)), { name: "b", xmlns: null });
  assert.deepEqual(peek.firstChild(frameOf("<a xmlns='jabber:client'><b/></a>", header)), {
    name: "b",
    xmlns: NS.client,
  });
});

test("a direct child is found among its siblings, a grandchild is not", () => {
  const frame = frameOf(
    "<message><body>a > b</body><x xmlns='u:1' a='/>'><deep xmlns='u:2'><x/></deep></x><![CDATA[<y xmlns='u:3'/>]]><p:y xmlns:p='u:4'/><z xmlns='u:5'></z ><été xmlns='u:6'/></message>",
  );
  assert.equal(peek.hasChild(frame, "body", NS.client), true);
  assert.equal(peek.hasChild(frame, "x", "u:1"), true);
  assert.equal(peek.hasChild(frame, "y", "u:4"), true);
  assert.equal(peek.hasChild(frame, "z", "u:5"), true);
  assert.equal(peek.hasChild(frame, "été", "u:6"), true);
  assert.equal(peek.hasChild(frame, "deep", "u:2"), false);
  assert.equal(peek.hasChild(frame, "y", "u:3"), false);
  assert.equal(peek.hasChild(frame, "x", "u:2"), false);
  assert.equal(peek.hasChild(frame, "bod", NS.client), false);
  assert.equal(peek.hasChild(frameOf("<iq/>"), "a", NS.client), false);
});

test("a header has no children: what follows its tag is not part of it", () => {
  const framer = new StanzaFramer(LIMITS);
  framer.feed(Buffer.from(`${HEADER}<a/>`), true);
  assert.equal(peek.firstChild(framer.next() as Frame), null);
});
