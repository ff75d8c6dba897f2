import assert from "node:assert/strict";
import { test } from "node:test";
import { CHUNK_SIZES, frame, HEADER } from "./framing.ts";

/** Asserts what becomes of each input, in chunks of every size: null when it is accepted, else the condition. */
function expectAll(expected: string | null, inputs: readonly (string | Buffer)[], before = HEADER): void {
  for (const input of inputs) {
    const stream = Buffer.concat([Buffer.from(before), Buffer.from(input as string)]);
    const check = (bytes: Buffer, size: number) => {
      const { refused, message } = frame(bytes, size);
      assert.equal(refused, expected, `${JSON.stringify(input.toString("latin1"))} in chunks of ${size}: ${message}`);
    };
    for (const size of CHUNK_SIZES) check(stream, size);
    // A few bytes are read in another way than many, so that there are many once.
    if (expected !== null || before === HEADER) check(Buffer.concat([stream, Buffer.alloc(40, " ")]), 1 << 20);
  }
}
const accepts = (inputs: readonly (string | Buffer)[], before?: string) => expectAll(null, inputs, before);
const refuses = (inputs: readonly (string | Buffer)[], before?: string) => expectAll("not-well-formed", inputs, before);
const latin1 = (text: string) => Buffer.from(text, "latin1");

test("every start tag is closed by an end tag with exactly its name (XML 1.0 §3, Element Type Match)", () => {
  accepts(["<a></a>", "<a><b></b><b/></a>", "<a></a >", "<a></a\r\n\t>", "<a ></a>", "<a\n/>"]);
  refuses([
    "<a></b>",
    "<a></A>",
    "<a></ab>",
    "<ab></a>",
    "<a><b></a></b>",
    "<a></ a>",
    "<a></a b>",
    "<a></a/>",
    "<a></>",
    "<a/ >",
  ]);
});

test("names begin and go on with the characters of XML 1.0, fifth edition (§2.3)", () => {
  accepts(["<_a/>", "<a-b.c_1/>", "<é/>", "<имя/>", "<名前/>", "<a·/>", "<a\u0301/>", "<a‿/>", "<𝒜/>", "<\u{EFFFF}/>"]);
  accepts(["<a é='1'/>", "<a 名='1'/>", "<a \u200d='1'/>"]);
  refuses([
    "<1a/>",
    "<-a/>",
    "<.a/>",
    "<·a/>",
    "<\u0301a/>",
    "<×/>",
    "<a×/>",
    "<÷/>",
    "<\u037e/>",
    "<\u2000/>",
    "<\u{F0000}/>",
  ]);
  refuses([
    "<a 1='1'/>",
    "<a -b='1'/>",
    "<a a×='1'/>",
    "<a$/>",
    "<a a$='1'/>",
    "< a/>",
    "<a\u00a0b='1'/>",
    "<\ufffe/>",
  ]);
});

test("a qualified name has at most one colon, between two NCNames (Namespaces in XML 1.0 §4; saxes takes a:1)", () => {
  accepts(["<stream:a/>", "<a xml:b='1'/>", "<stream:é/>"]);
  refuses(["<stream:/>", "<:a/>", "<a:b:c/>", "<stream:1/>", "<stream:-a/>", "<stream:a:b/>", "<stream::a/>"]);
  refuses(["<a xml:='1'/>", "<a :b='1'/>", "<a xml:b:c='1'/>", "<a xml:1='1'/>", "<a xml:·='1'/>", "<a xmlns:='u'/>"]);
});

test("attributes have a value in matching quotes, and white space between them (XML 1.0 §3.1)", () => {
  accepts([
    "<a b='1'/>",
    '<a b="1"/>',
    "<a b='\"' c=\"'\"/>",
    "<a b = '1'\n\tc\r=\n'2'/>",
    "<a b=''/>",
    "<a b='>/'/>",
    "<a b='1' ></a>",
  ]);
  refuses([
    "<a b/>",
    "<a b=/>",
    "<a b=1/>",
    "<a b='1'c='2'/>",
    "<a b='1\"/>'</a>",
    "<a b c='1'/>",
    "<a ='1'/>",
    "<a b=='1'/>",
    "<a 'b'/>",
  ]);
  refuses(["<a b='<'/>", "<a b='1'/ >", "<a/b='1'>", "<a b='1'x/>", "<a \"b\"='1'/>"]);
});

test("no attribute comes twice, by name or by expanded name (XML 1.0 §3.1, Namespaces in XML 1.0 §6.3)", () => {
  const many = Array.from({ length: 60 }, (_, i) => ` a${i}='${i}'`).join("");
  accepts([
    "<a b='1' B='2'/>",
    "<a b='' c=''><d b='' c=''/></a>",
    `<a${many}/>`,
    "<a xmlns:p='u:1' xmlns:q='u:2' p:b='' q:b='' b=''/>",
  ]);
  accepts(["<a xmlns:p='jabber:client' b='' p:b=''/>"]);
  refuses([
    "<a b='1' b='2'/>",
    "<a b='1' c='' d='' b='2'/>",
    `<a${many} a7='x'/>`,
    `<a${many} a59='x'/>`,
    `<a${many} a0='x'/>`,
    `<a${many} a2='x'/>`,
    `<a${many} others='' a3x='' others=''/>`,
    "<a xml:lang='' xml:lang=''/>",
  ]);
  refuses(["<a xmlns='u' xmlns='u'/>", "<a xmlns:p='u:1' xmlns:p='u:2'/>"]);
  refuses(["<a xmlns:p='u' xmlns:q='u' p:b='' q:b=''/>", "<a p:b='' q:b='' xmlns:p='u' xmlns:q='&#117;'/>"]);
  refuses(["<a xmlns:p='u'><b xmlns:q='u' q:c='' p:c=''/></a>"]);
});

test("only the five entities and references to legal characters are resolved (XML 1.0 §4.1 and §4.6)", () => {
  accepts(["<a>&amp;&lt;&gt;&apos;&quot;</a>", "<a b='&amp;&lt;&gt;&apos;&quot;'/>"]);
  accepts([
    "<a>&#65;&#x41;&#x1F600;&#9;&#xA;&#xd;&#xFFFD;&#x10FFFF;&#0000000000000000000065;</a>",
    "<a b='&#x20AC;'/>",
  ]);
  refuses([
    "<a>&#0;</a>",
    "<a>&#8;</a>",
    "<a>&#xD800;</a>",
    "<a>&#xFFFE;</a>",
    "<a>&#x110000;</a>",
    "<a>&#99999999999999;</a>",
  ]);
  refuses([
    "<a>&;</a>",
    "<a>& </a>",
    "<a>&#;</a>",
    "<a>&#x;</a>",
    "<a>&#xG;</a>",
    "<a>&#1A;</a>",
    "<a>&#X41;</a>",
    "<a>&amp</a>",
    "<a>&am p;</a>",
  ]);
  refuses(["<a b='&'/>", "<a b='&#0;'/>", "<a>&1;</a>", "<a>&×;</a>", "<a>&a:b;</a>"]);
});

test("entities of one's own are forbidden, whatever their name (RFC 6120 §11.1; saxes takes &constructor;)", () => {
  expectAll("restricted-xml", [
    "<a>&e;</a>",
    "<a b='&nbsp;'/>",
    "<a>&AMP;</a>",
    "<a>&constructor;</a>",
    "<a>&é;</a>",
    "<a>&ampx;</a>",
    "<a>&amp.;</a>",
  ]);
});

test("comments, processing instructions and DTDs are forbidden everywhere (RFC 6120 §11.1)", () => {
  const forbidden = ["<!-- c -->", "<?pi?>", "<?pi", "<?xml version='1.0'?>", "<?", "<!DOCTYPE a>", "<!DOCTYPE"];
  expectAll("restricted-xml", forbidden);
  expectAll(
    "restricted-xml",
    forbidden.map((text) => `<a>${text}`),
  );
  expectAll(
    "restricted-xml",
    ["<!-- c -->", "<?pi?>", "<!DOCTYPE a>", " <?xml version='1.0'?>", "<?xml version='1.0'?><?xml version='1.0'?>"],
    "",
  );
  refuses(["<!ELEMENT a>", "<!a>", "<!>", "<!->", "<![cdata[]]>", "<a><![CDATA [x]]></a>", "<a><!DOCTIPE>"]);
});

test("CDATA ends at its first ]]> and is taken inside stanzas only (XML 1.0 §2.7)", () => {
  accepts([
    "<a><![CDATA[]]></a>",
    "<a><![CDATA[<b>&x;]]]]></a>",
    "<a><![CDATA[]]]></a>",
    "<a><![CDATA[]>]]></a>",
    "<a><![CDATA[é漢😀]]>x<![CDATA[y]]></a>",
  ]);
  refuses(["<a><![CDATA[]]>]]></a>", latin1("<a><![CDATA[\x01]]></a>"), latin1("<a><![CDATA[\xff]]></a>")]);
  expectAll("bad-format", ["<![CDATA[x]]>", "<a/><![CDATA["]);
  refuses(["<![CDATA["], "");
});

test("]]> does not come in text as it is (XML 1.0 §2.4)", () => {
  accepts([
    "<a>]]</a>",
    "<a>] ]></a>",
    "<a>]]&gt;</a>",
    "<a>]&#93;></a>",
    "<a b=']]>'/>",
    "<a>]<b/>]></a>",
    "<a>></a>",
  ]);
  refuses(["<a>]]></a>", "<a>x]]]>y</a>", "<a>é]]></a>", "<a>]]<b/>]]></a>"]);
});

test("only the characters of XML 1.0 come, in text, values and CDATA (§2.2)", () => {
  accepts(["<a>\t\r\n\x7f\x85\u2028\ud7ff\ue000\ufffd\u{1FFFE}\u{10FFFF}</a>", "<a b='\t\r\n\x7f\ufffd\u{10FFFF}'/>"]);
  for (const bad of ["\0", "\x01", "\b", "\x0b", "\x0c", "\x0e", "\x1f", "\ufffe", "\uffff"]) {
    refuses([
      `<a>${bad}</a>`,
      `<a>text ${bad}</a>`,
      `<a b='${bad}'/>`,
      `<a b='value ${bad}'/>`,
      `<a><![CDATA[${bad}]]></a>`,
      `<a${bad}/>`,
    ]);
  }
});

test("bytes that are not UTF-8 are refused, also when a chunk ends inside them (RFC 3629)", () => {
  const good = ["c280", "dfbf", "e0a080", "ed9fbf", "ee8080", "efbfbd", "f0908080", "f48fbfbf"];
  const bad = [
    "80",
    "bf",
    "c0",
    "c080",
    "c1bf",
    "c320",
    "e08080",
    "e09fbf",
    "e28220",
    "eda080",
    "edbfbf",
    "f0808080",
    "f08fbfbf",
    "f0908020",
    "f4908080",
    "f5808080",
    "f8",
    "fe",
    "ff",
  ];
  const within = (hex: string) => [
    Buffer.concat([Buffer.from("<a>some text "), Buffer.from(hex, "hex"), Buffer.from("</a>")]),
    Buffer.concat([Buffer.from("<a b='"), Buffer.from(hex, "hex"), Buffer.from("'/>")]),
    Buffer.concat([Buffer.from("<a>Ж"), Buffer.from(hex, "hex"), Buffer.from("Ж</a>")]),
    Buffer.concat([Buffer.from("<a><![CDATA["), Buffer.from(hex, "hex"), Buffer.from("]]></a>")]),
  ];
  accepts(good.flatMap(within));
  refuses(bad.flatMap(within));
  refuses(bad.map((hex) => Buffer.concat([Buffer.from("<a"), Buffer.from(hex, "hex"), Buffer.from("/>")])));
});

test("a prefix must be declared: in the tag, around it, or in the stream header (Namespaces in XML 1.0 §5)", () => {
  accepts([
    "<stream:a/>",
    "<a stream:b='1'/>",
    "<p:a xmlns:p='u'/>",
    "<p:a p:b='' xmlns:p='u'></p:a>",
    "<a xmlns:p='u'><b><p:c/></b></a>",
    "<xml:a xml:b=''/>",
  ]);
  refuses([
    "<p:a/>",
    "<a p:b='1'/>",
    "<a><p:b xmlns:p='u'/><p:b/></a>",
    "<a><b xmlns:p='u'/><c p:d=''/></a>",
    "<Stream:a/>",
    "<a foo:b='1'/>",
    "<a xm:b='1' xmk:c=''/>",
    "<a><stream1:b/></a>",
  ]);
  refuses(["<p:a>"], "<root xmlns='jabber:client'>");
});

test("a prefix that many declarations hide and show again is resolved all the same", () => {
  const names = Array.from({ length: 40 }, (_, i) => `p${i}`);
  const declare = (uri: string) => names.map((name) => ` xmlns:${name}='${uri}'`).join("");
  const use = names.map((name) => `<${name}:x/>`).join("");
  accepts([`<a${declare("u:1")}><b${declare("u:2")}>${use}</b>${use}<b xmlns:p3='u:3'>${use}</b>${use}</a>`]);
  refuses([`<a><b${declare("u:1")}>${use}</b>${names[20]}<p20:x/></a>`, `<a${declare("u")} p1:x='' p2:x=''/>`]);
});

test("the prefixes xml and xmlns keep their meaning, and no other gets it (Namespaces in XML 1.0 §3)", () => {
  const xml = "http://www.w3.org/XML/1998/namespace";
  const xmlns = "http://www.w3.org/2000/xmlns/";
  accepts([
    `<a xmlns:xml='${xml}' xml:lang='en'/>`,
    `<a xmlns:xmlx='u'/>`,
    "<a xmlns:xml1='u' xml1:b=''/>",
    `<a b='${xml}'/>`,
  ]);
  refuses([
    `<a xmlns:p='${xml}'/>`,
    `<a xmlns:p='${xmlns}'/>`,
    `<a xmlns='${xml}'/>`,
    `<a xmlns='${xmlns}'/>`,
    `<a xmlns='http://www.w3.org/XML/1998/n&#97;mespace'/>`,
  ]);
  refuses([
    "<a xmlns:xml='u'/>",
    "<a xmlns:xml=''/>",
    "<a xmlns:xmlns='u'/>",
    `<a xmlns:xmlns='${xmlns}'/>`,
    "<xmlns:a/>",
    "<a><b xmlns='http://www.w3.org/2000/xmlns/'/></a>",
    "<a><b xmlns='http://www.w3.org/XML/1998/namespace'/></a>",
  ]);
});

test("a default namespace may be undone, a prefix may not (Namespaces in XML 1.0 §6.2; 1.1 is not XMPP's)", () => {
  accepts(["<a xmlns=''/>", "<a xmlns='u'><b xmlns=''/></a>"]);
  refuses(["<a xmlns:p=''/>", "<a xmlns:p='u'><b xmlns:p=''/></a>"]);
});

test("a namespace name is compared as it is: white space makes another one (Namespaces in XML 1.0 §2.3; saxes trims it)", () => {
  accepts(["<a xmlns:p='u' xmlns:q=' u' p:b='' q:b=''/>", "<a xmlns:p=' '/>"]);
  refuses(["<a xmlns:p='\tu' xmlns:q=' u' p:b='' q:b=''/>"]);
});

test("an XML declaration may come first, in version 1.x and UTF-8 (XML 1.0 §2.8, RFC 6120 §11.5)", () => {
  accepts(
    [
      "<?xml version='1.0'?>",
      '<?xml version="1.0" encoding="UTF-8"?>',
      "<?xml version='1.1' encoding='utf-8' standalone='yes'?>\r\n",
      "<?xml\tversion = '1.99'\nstandalone=\"no\" ?>",
      "<?xml version='1.0'",
      "<",
      "<?",
      "<?x",
      "<?xml ",
      "",
      " \n",
    ],
    "",
  );
  accepts([`<?xml version='1.0'?>\n ${HEADER}<a/>`, ` \r\n${HEADER}<a/>`], "");
  expectAll(
    "unsupported-encoding",
    [
      "<?xml version='1.0' encoding='latin1'?>",
      "<?xml version='1.0' encoding='UTF8'?>",
      "<?xml version='1.0' encoding='UTF-16' ?>",
    ],
    "",
  );
  refuses(
    [
      "<?xml ?>",
      "<?xml version='2.0'?>",
      "<?xml version='1.'?>",
      "<?xml version='1.0\"?>",
      "<?xml version=1.0?>",
      "<?xml encoding='UTF-8'?>",
      "<?xml version='1.0'encoding='UTF-8'?>",
      "<?xml version='1.0' standalone='yes' encoding='UTF-8'?>",
      "<?xml version='1.0' standalone='maybe'?>",
      "<?xml version='1.0' encoding=''?>",
      "<?xml version='1.0' encoding='-8'?>",
      "<?xml version='1.0' version='1.0'?>",
      "<?xml version='1.0' ?a",
      "<?xml version='1.0'>",
      "<?xml Version='1.0'?>",
      "<?xml version='1 0'?>",
    ],
    "",
  );
  expectAll("restricted-xml", ["<?xml?>", "<?XML version='1.0'?>", "<?xmlx?>", "<?xml-stylesheet ?>", "<?y"], "");
});

test("U+FEFF before the header is no byte order mark but text (RFC 6120 §11.6; saxes skips it)", () => {
  refuses([`\ufeff${HEADER}`, "\ufeff"], "");
});

test("before the header only white space may come", () => {
  refuses(["x", "GET / HTTP/1.1\r\n", "\x16\x03\x01", "</a>", "&amp;", ">"], "");
});

test("between stanzas only white space may come (RFC 6120 §4.4 and §4.9.3.1)", () => {
  accepts([" \t\r\n<a/> \n", "\n\n\n"]);
  expectAll("bad-format", ["x", "<a/>x<a/>", "&amp;", ">", "\0", "é", latin1("\xff"), "<a/>\u00a0"]);
});

test("behind the end of the stream only white space may come", () => {
  accepts([" \r\n\t", ""], `${HEADER}</stream:stream>`);
  refuses(["x", "<a/>", "<", "</stream:stream>", "\0"], `${HEADER}</stream:stream>`);
});

test("the stream is closed by the name of its root (XML 1.0 §3)", () => {
  accepts(["</stream:stream>", "<a/></stream:stream \n>"]);
  refuses([
    "</stream>",
    "</stream:strea>",
    "</stream:streams>",
    "</stream:stream/>",
    "</a>",
    "</>",
    "</ stream:stream>",
    "<a/></b>",
  ]);
});

test("a refusal says what and where, and quotes no more than a short name", () => {
  const { message } = frame(`${HEADER}<a>hi</b>`);
  assert.equal(message, 'end tag that does not close "a" at byte 7');
  const secret = "s".repeat(500);
  for (const input of [
    `<a>&${secret};</a>`,
    `<${secret}></x>`,
    `<a ${secret}='' ${secret}=''/>`,
    `<${secret}:x/>`,
    `<a>${secret}\0`,
    `<a b='${secret}<'`,
  ]) {
    const result = frame(HEADER + input);
    assert(result.refused !== null && result.message.length < 120 && !result.message.includes("sss"), result.message);
  }
});

test("it does not matter where in a text or a value something stands", () => {
  const good = ["é", "漢", "😀", "&amp;", "\r\n", "\t", "'", '"', "/>"];
  const bad = [
    ...["\x80", "\xff", "\xc3", "\xe9\xe9", "\x01", "\x1f", "<", "&", "&x"].map(latin1),
    Buffer.from("\uffff"),
  ];
  for (let offset = 0; offset < 9; offset++) {
    const before = Buffer.from(`<a b='${"v".repeat(offset)}' c="`);
    const between = Buffer.from(`">${"t".repeat(offset)}`);
    const inValue = (what: Buffer) => Buffer.concat([before, what, Buffer.from('vvvv"/>')]);
    const inText = (what: Buffer) => Buffer.concat([before, between, what, Buffer.from("tttt</a>")]);
    accepts(good.flatMap((what) => [inText(Buffer.from(what)), ...(what === '"' ? [] : [inValue(Buffer.from(what))])]));
    refuses(bad.flatMap((what) => (what.toString() === "<" ? [inValue(what)] : [inValue(what), inText(what)])));
  }
});
