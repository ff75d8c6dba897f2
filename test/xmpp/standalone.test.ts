import assert from "node:assert/strict";
import { test } from "node:test";
import { SaxesParser } from "saxes";
import { NS } from "../../src/xmpp/ns.ts";
import { standalone } from "../../src/xmpp/standalone.ts";
import { Random } from "../support/random.ts";

const alone = (text: string): string => {
  const bytes = Buffer.from(`before${text}after`);
  return standalone(bytes, 6, bytes.length - 5).toString();
};

test("a stanza gets the namespace that its stream declares, at the end of its name", () => {
  assert.equal(alone("<presence/>"), "<presence xmlns='jabber:client'/>");
  assert.equal(alone("<iq id='1'><q/></iq>"), "<iq xmlns='jabber:client' id='1'><q/></iq>");
  assert.equal(
    alone("<message\n\tto = 'a>b/' >x</message>"),
    "<message xmlns='jabber:client'\n\tto = 'a>b/' >x</message>",
  );
});

test("what declares its namespace stays as it is, and is not copied", () => {
  const bytes = Buffer.from(`<r xmlns='${NS.sm}'/>`);
  assert.equal(standalone(bytes, 0, bytes.length).buffer, bytes.buffer);
  for (const text of [`<a h='1' xmlns="${NS.sm}"/>`, "<x xmlns=''/>", "<iq xmlns = 'jabber:client' />"]) {
    assert.equal(alone(text), text);
  }
});

test("an attribute that only looks like a declaration is none", () => {
  for (const attribute of ["id='xmlns='", "xmlnss='x'", "xmlns:a='x'", 'a=" xmlns=&apos;x&apos;"', "xmln='x'"]) {
    assert.match(alone(`<iq ${attribute}/>`), /^<iq xmlns='jabber:client' /);
  }
});

test("stream features and stream errors get the stream's prefix too", () => {
  const both = `xmlns='jabber:client' xmlns:stream='${NS.streams}'`;
  assert.equal(alone("<stream:features/>"), `<stream:features ${both}/>`);
  assert.equal(
    alone("<stream:error><a xmlns='b'/></stream:error>"),
    `<stream:error ${both}><a xmlns='b'/></stream:error>`,
  );
  const declared = `<stream:features xmlns:stream='${NS.streams}'/>`;
  assert.equal(alone(declared), declared.replace("features ", "features xmlns='jabber:client' "));
});

test("a parser finds the same expanded names in the stream and in the element alone", () => {
  const random = new Random(7395);
  for (let i = 0; i < 3000; i++) {
    const text = element(random, 0, ["stream"]);
    const header = `<stream:stream xmlns='jabber:client' xmlns:stream='${NS.streams}'>`;
    const inStream = expandedNames(`${header}${text}</stream:stream>`).slice(1);
    assert.deepEqual(expandedNames(alone(text)), inStream, text);
  }
});

function expandedNames(document: string): string[] {
  const names: string[] = [];
  const parser = new SaxesParser({ xmlns: true });
  parser.on("error", (error) => {
    throw error;
  });
  parser.on("opentag", ({ uri, local, attributes }) => {
    const rest = Object.values(attributes).filter(({ prefix, name }) => prefix !== "xmlns" && name !== "xmlns");
    names.push(`{${uri}}${local} ${rest.map((one) => `{${one.uri}}${one.local}=${one.value}`).join(" ")}`);
  });
  parser.write(document).close();
  return names;
}

// As the framer hands them over: below the top, `stream` is used only where it is declared.
function element(random: Random, depth: number, prefixes: readonly string[]): string {
  const scope = [...prefixes];
  const attributes = [];
  if (random.chance(0.3)) attributes.push(`xmlns=${quoted(random, random.pick(["jabber:client", "urn:a", ""]))}`);
  const declares = random.chance(0.3) ? random.pick(["a", "b", "stream"]) : null;
  if (declares !== null) {
    attributes.push(`xmlns:${declares}=${quoted(random, random.pick(["urn:a", NS.streams]))}`);
    scope.push(declares);
  }
  const known = depth === 0 ? scope : scope.filter((name) => name !== "stream" || scope.lastIndexOf(name) > 0);
  for (const name of ["to", "xml:lang", "x"]) if (random.chance(0.3)) attributes.push(`${name}=${value(random)}`);
  const prefix = random.chance(0.3) && known.length > 0 ? `${random.pick(known)}:` : "";
  const name = prefix + random.pick(["message", "xmlns", "features", "q"]);
  const tag = [name, ...shuffled(random, attributes)].join(random.pick([" ", "\n", " \t"]));
  if (random.chance(0.3)) return `<${tag}${random.pick(["", " "])}/>`;
  const children =
    depth < 3 ? Array.from({ length: random.integer(0, 2) }, () => element(random, depth + 1, scope)) : [];
  return `<${tag}>${children.join("x")}</${name}>`;
}

function value(random: Random): string {
  return quoted(random, random.pick(["", "a", "xmlns=", "x/>", " xmlns:stream= "]));
}

function quoted(random: Random, text: string): string {
  const quote = random.pick(["'", '"']);
  return `${random.pick(["", " "])}${quote}${text}${quote}`;
}

function shuffled(random: Random, items: string[]): string[] {
  return items
    .map((item) => [random.next(), item] as const)
    .sort(([a], [b]) => a - b)
    .map(([, item]) => item);
}
