import { NS } from "../../src/xmpp/ns.ts";
import type { Random } from "../support/random.ts";

const LOCAL_NAMES = [
  "a",
  "b",
  "message",
  "presence",
  "iq",
  "r",
  "features",
  "error",
  "x-y.z",
  "_1",
  "été",
  "имя",
  "名",
  "𝒜b",
  "xmlns",
  "xmlfoo",
];
const PREFIXES = ["p", "q", "pfx", "stream", "s", "é", "xml"];
const URIS = [
  NS.client,
  NS.streams,
  NS.sm,
  NS.sm2,
  NS.sasl,
  NS.tls,
  NS.csi,
  "u:1",
  "u:2",
  "jabber:clien&#116;",
  "",
  "urn:é",
];
const ATTRIBUTES = ["to", "from", "id", "type", "a", "b", "é", "xml:lang", "xml:space", "n1", "x", "version"];
const TEXTS = [
  "hi",
  "Привет",
  "漢字かな",
  "😀",
  "&amp;",
  "&lt;x&gt;",
  "&#65;",
  "&#x1F600;",
  "&#000000000065;",
  "]]",
  "]",
  "a > b",
  "\n",
  "\r\n",
  "\t",
  "",
  "<![CDATA[<&]]]>]]>",
  "<![CDATA[]]>",
  "\u{7f}\u{85}\u{2028}",
  "é",
  "&apos;&quot;",
  "0123456789abcdef".repeat(3),
];
const VALUES = [
  "v",
  "Юлия@example",
  "&amp;&lt;",
  "a\tb\nc",
  "  ",
  "漢",
  "😀",
  "&#x20AC;",
  "",
  "]]>",
  "a>b",
  "/>",
  "jabber:client",
];

/** Tokens that break things, or seem to. */
const NASTY = [
  "<",
  ">",
  "&",
  "'",
  '"',
  "/",
  "=",
  ":",
  "!",
  "?",
  ";",
  "#",
  "-",
  " ",
  "\r",
  "\0",
  "\u{1}",
  "\u{b}",
  "\u{7f}",
  "\u{fffe}",
  "\u{ffff}",
  "\u{feff}",
  "</",
  "/>",
  "<!",
  "<?",
  "<!--",
  "-->",
  "<!-- c -->",
  "<?xml version='1.0'?>",
  "<?pi x?>",
  "<!DOCTYPE a>",
  "<!DOCTYPE a [<!ENTITY e 'x'>]>",
  "<![CDATA[",
  "]]>",
  "<![CDATA[x]]>",
  "&amp;",
  "&e;",
  "&constructor;",
  "&#0;",
  "&#xD800;",
  "&#x110000;",
  "&#xFFFE;",
  "&#X41;",
  "&#;",
  "&;",
  "&#x;",
  "xmlns='u:3'",
  " xmlns:p='u:1'",
  " xmlns:q='u:1'",
  " p:a='' q:a=''",
  " xmlns:p=''",
  " xmlns:xml='u:1'",
  " xmlns:xmlns='u:1'",
  " xmlns='http://www.w3.org/XML/1998/namespace'",
  " xmlns:w='http://www.w3.org/2000/xmlns/'",
  " xmlns:xml='http://www.w3.org/XML/1998/namespace'",
  " a='1' a='2'",
  "a='1'b='2'",
  "p:",
  ":p",
  "p:a:b",
  "p:1",
  "xmlns:a",
  "é",
  "×",
  "漢",
  "𝒜",
  "standalone='yes'",
  "encoding='latin1'",
  "<a",
  "</a>",
  "<a/>",
  "<p:b/>",
  " ",
  "\t\n",
].map((token) => Buffer.from(token));
const BAD_BYTES = [
  "80",
  "c0af",
  "c1bf",
  "e08080",
  "eda080",
  "f0808080",
  "f4908080",
  "f8",
  "ff",
  "c3",
  "e282",
  "f09f98",
  "efbfbe",
].map((hex) => Buffer.from(hex, "hex"));

/** Writes one random stream that is well-formed, nearly always, with all that the grammar allows. */
class DocumentWriter {
  readonly #random: Random;
  /** Prefixes that are declared around the place of writing. */
  #declared: string[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  write(): string {
    const random = this.#random;
    let text = random.chance(0.3) ? this.#declaration() : random.chance(0.2) ? this.#space() : "";
    const usual = random.chance(0.6);
    const name = usual ? "stream:stream" : this.#name(["stream", "s"]);
    const prefix = name.includes(":") ? name.slice(0, name.indexOf(":")) : "";
    let attributes = prefix && prefix !== "xml" ? ` xmlns:${prefix}='${NS.streams}'` : "";
    if (prefix && prefix !== "xml") this.#declared.push(prefix);
    if (usual || random.chance(0.7)) attributes += ` xmlns='${random.chance(0.8) ? NS.client : random.pick(URIS)}'`;
    const extra = random.pick(PREFIXES);
    if (random.chance(0.3) && extra !== prefix && extra !== "xml") {
      attributes += ` xmlns:${extra}="${random.pick(URIS) || "u:9"}"`;
      this.#declared.push(extra);
    }
    if (random.chance(0.5)) attributes += " version='1.0'";
    if (random.chance(0.05)) return `${text}<${name}${attributes}/>`;
    text += `<${name}${attributes}${this.#optionalSpace()}>`;
    for (let i = random.integer(0, 4); i > 0; i--) text += this.#space() + this.#element(1);
    if (random.chance(0.4)) text += `${this.#space()}</${name}${this.#optionalSpace()}>${this.#space()}`;
    return text;
  }

  #declaration(): string {
    const random = this.#random;
    const quote = random.pick(["'", '"']);
    let text = `<?xml version=${quote}1.${random.integer(0, 12)}${quote}`;
    if (random.chance(0.5)) text += ` encoding='${random.pick(["UTF-8", "utf-8", "Utf-8", "utf8", "ISO-8859-1"])}'`;
    if (random.chance(0.2)) text += ` standalone = "${random.pick(["yes", "no"])}"`;
    return `${text}${this.#optionalSpace()}?>${this.#space()}`;
  }

  #space(): string {
    return this.#random.chance(0.8) ? "" : this.#random.pick([" ", "\n", "\r\n", "\t  \n", "\r"]);
  }

  #optionalSpace(): string {
    return this.#random.chance(0.9) ? "" : this.#random.pick([" ", "\n", "\r\n\t"]);
  }

  #name(prefixes: readonly string[]): string {
    const local = this.#random.pick(LOCAL_NAMES);
    return prefixes.length > 0 && this.#random.chance(0.3) ? `${this.#random.pick(prefixes)}:${local}` : local;
  }

  #element(depth: number): string {
    const random = this.#random;
    const outer = this.#declared;
    this.#declared = [...outer];
    let attributes = "";
    if (random.chance(0.3)) attributes += this.#attribute("xmlns", random.pick(URIS));
    for (const prefix of PREFIXES) {
      if (prefix === "xml" || !random.chance(0.08)) continue;
      attributes += this.#attribute(`xmlns:${prefix}`, random.pick(URIS) || "u:8");
      this.#declared.push(prefix);
    }
    for (const attribute of ATTRIBUTES) {
      if (random.chance(0.12)) attributes += this.#attribute(attribute, random.pick(VALUES));
    }
    if (this.#declared.length > 0 && random.chance(0.1)) {
      attributes += this.#attribute(`${random.pick(this.#declared)}:${random.pick(["a", "b"])}`, "v");
    }
    const name = this.#name([...this.#declared, "xml"]);
    let text = `<${name}${attributes}${this.#optionalSpace()}`;
    if (random.chance(0.3)) text += "/>";
    else {
      text += ">";
      for (let i = random.integer(0, depth > 3 ? 1 : 3); i > 0; i--) {
        text += random.chance(0.6) || depth > 4 ? random.pick(TEXTS) : this.#element(depth + 1);
      }
      text += `</${name}${this.#optionalSpace()}>`;
    }
    this.#declared = outer;
    return text;
  }

  #attribute(name: string, value: string): string {
    const quote = this.#random.pick(["'", '"']);
    const equals = this.#random.chance(0.95) ? "=" : this.#random.pick([" =", "= ", "\n=\t"]);
    return `${this.#random.chance(0.95) ? " " : "\r\n "}${name}${equals}${quote}${value}${quote}`;
  }
}

export function randomDocument(random: Random): Buffer {
  return Buffer.from(new DocumentWriter(random).write());
}

/** Damages a document a little, so that it is nearly right. */
export function mutate(random: Random, document: Buffer): Buffer {
  const at = () => random.integer(0, document.length);
  const span = () => {
    const start = at();
    return [start, Math.min(document.length, start + random.integer(1, 12))] as const;
  };
  const splice = (start: number, end: number, ...put: Buffer[]) =>
    Buffer.concat([document.subarray(0, start), ...put, document.subarray(end)]);
  switch (random.integer(0, 8)) {
    case 0: {
      const copy = Buffer.from(document);
      const place = at();
      if (place < copy.length) copy[place] = copy[place]! ^ (1 << random.integer(0, 7));
      return copy;
    }
    case 1: {
      const copy = Buffer.from(document);
      const place = at();
      if (place < copy.length) copy[place] = random.integer(0, 255);
      return copy;
    }
    case 2:
    case 3: {
      const place = at();
      return splice(place, place, random.pick(NASTY));
    }
    case 4: {
      const [start, end] = span();
      return splice(start, end);
    }
    case 5: {
      const [start, end] = span();
      const place = at();
      return splice(place, place, document.subarray(start, end));
    }
    case 6:
      return swapTags(random, document);
    case 7: {
      const place = at();
      return splice(place, place, random.pick(BAD_BYTES));
    }
    default:
      return document.subarray(0, at());
  }
}

function swapTags(random: Random, document: Buffer): Buffer {
  // Latin-1 keeps bytes as they are.
  const parts = document.toString("latin1").split(/(<[^<>]*>)/);
  const tags = parts.flatMap((part, i) => (part.startsWith("<") ? [i] : []));
  if (tags.length < 2) return document;
  const one = random.pick(tags);
  const other = random.pick(tags);
  [parts[one], parts[other]] = [parts[other]!, parts[one]!];
  return Buffer.from(parts.join(""), "latin1");
}

/** Cuts a document into chunks, small ones or any. */
export function cut(random: Random, document: Buffer): Buffer[] {
  const most = random.pick([1, 3, 8, 30, 70, 150, 300, document.length + 1]);
  const chunks: Buffer[] = [];
  for (let at = 0; at < document.length; ) {
    const end = Math.min(document.length, at + random.integer(1, most));
    chunks.push(document.subarray(at, end));
    at = end;
  }
  return chunks;
}
