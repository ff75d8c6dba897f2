import { SaxesParser } from "saxes";
import { type FrameKind, KIND } from "../../src/xmpp/frame.ts";
import { NS } from "../../src/xmpp/ns.ts";

/** What must be said about the bytes of one stream, by an XML parser that is not ours. */
export interface Verdict {
  /** The header and the first-level elements that are complete, as byte ranges. */
  readonly frames: readonly OracleFrame[];
  /** "more": nothing is wrong so far; "end": the root is closed. */
  readonly outcome: "more" | "end" | "refused";
  readonly reason: string;
}

export interface OracleFrame {
  readonly start: number;
  readonly end: number;
  readonly kind: FrameKind;
  readonly usesStreamPrefix: boolean;
  readonly name: string;
  /** Of the top start tag, as `name=value` in lines. */
  readonly attributes: string;
  /** The first child element as `{namespace}name`, or "". */
  readonly child: string;
}

interface Tag {
  name: string;
  prefix: string;
  local: string;
  uri: string;
  attributes: Record<string, { value: string; prefix: string; local: string }>;
  ns: Record<string, string>;
}

interface Building {
  start: number;
  usesStreamPrefix: boolean;
  top: Tag;
  child: string;
}

class Refusal extends Error {}

const ENTITIES = Object.assign(Object.create(null), { amp: "&", lt: "<", gt: ">", apos: "'", quot: '"' });
const NC_NAME_START =
  // biome-ignore lint/suspicious/noMisleadingCharacterClass: the joiner is a name character by itself.
  /^[A-Z_a-z\u{C0}-\u{D6}\u{D8}-\u{F6}\u{F8}-\u{2FF}\u{370}-\u{37D}\u{37F}-\u{1FFF}\u{200C}\u{200D}\u{2070}-\u{218F}\u{2C00}-\u{2FEF}\u{3001}-\u{D7FF}\u{F900}-\u{FDCF}\u{FDF0}-\u{FFFD}\u{10000}-\u{EFFFF}]/u;

const KIND_OF_NAME = new Map<string, FrameKind>([
  [`${NS.client} message`, KIND.message],
  [`${NS.client} presence`, KIND.presence],
  [`${NS.client} iq`, KIND.iq],
  [`${NS.streams} features`, KIND.features],
  [`${NS.streams} error`, KIND.streamError],
  [`${NS.sm} r`, KIND.smRequest],
  [`${NS.sm2} r`, KIND.smRequest],
  [`${NS.sm} a`, KIND.smAnswer],
  [`${NS.sm2} a`, KIND.smAnswer],
]);
const KIND_OF_NAMESPACE = new Map<string, FrameKind>([
  [NS.sm, KIND.sm],
  [NS.sm2, KIND.sm],
  [NS.sasl, KIND.sasl],
  [NS.tls, KIND.tls],
  [NS.csi, KIND.csi],
]);

function kindOf({ uri, local }: Tag): FrameKind {
  return KIND_OF_NAME.get(`${uri} ${local}`) ?? KIND_OF_NAMESPACE.get(uri) ?? KIND.other;
}

/** saxes, corrected where it departs from the specifications, and the refusals of RFC 6120 §11.1 on top. */
class Oracle {
  readonly frames: OracleFrame[] = [];
  readonly #text: string;
  readonly #parser: SaxesParser<{ xmlns: true }>;
  /** Names of the open elements, and what each declares. */
  readonly open: Tag[] = [];
  #building: Building | null = null;
  /** A frame that a closing tag seems to complete: saxes tells of the tag before it looks at its name. */
  #closing: OracleFrame | null = null;
  /** Index in the text behind the last frame. */
  #last = 0;
  #ended = false;

  constructor(text: string) {
    this.#text = text;
    this.#parser = new SaxesParser({ xmlns: true, forceXMLVersion: true, defaultXMLVersion: "1.0" });
    // saxes would take `&constructor;` for an entity: its table inherits from Object.prototype.
    this.#parser.ENTITIES = ENTITIES;
    this.#listen();
  }

  #listen(): void {
    const parser = this.#parser;
    const forbidden = (what: string) => () => {
      throw new Refusal(`${what} (RFC 6120 §11.1)`);
    };
    parser.on("comment", forbidden("comment"));
    parser.on("processinginstruction", forbidden("processing instruction"));
    parser.on("doctype", forbidden("document type declaration"));
    parser.on("xmldecl", ({ encoding }) => {
      // RFC 6120 §11.6
      if (encoding !== undefined && encoding.toLowerCase() !== "utf-8") throw new Refusal("encoding other than UTF-8");
    });
    parser.on("attribute", ({ name, prefix, local, value }) => {
      checkNcName(prefix ? local : name);
      // Namespaces in XML 1.0 §2.2 compares names as they are; saxes trims them, and its verdict is of no use then.
      if ((prefix === "xmlns" || name === "xmlns") && value !== value.trim()) throw new Undecided();
    });
    parser.on("opentag", (tag) => this.#opened(tag as unknown as Tag));
    parser.on("closetag", () => this.#closed());
    parser.on("error", (error) => {
      if (error.message.includes("unexpected close tag")) this.#closing = null;
      throw new Refusal(error.message);
    });
  }

  run(): Verdict {
    const verdict = (outcome: Verdict["outcome"], reason: string): Verdict => ({
      frames: this.frames,
      outcome,
      reason,
    });
    try {
      // RFC 6120 §11.6: U+FEFF at the start is no byte order mark, so it is text.
      if (this.#text.startsWith("\uFEFF")) throw new Refusal("U+FEFF before the header");
      // saxes waits with a last CR for the LF that may follow; alone it means the same (XML 1.0 §2.11).
      this.#parser.write(this.#text.replace(/\r$/, "\n"));
      this.#confirm();
      if (this.open.length === 1) this.#gap();
      if (this.#ended && /[^ \t\r\n]/.test(this.#text.slice(this.#last))) throw new Refusal("behind the end");
      return verdict(this.#ended ? "end" : "more", "");
    } catch (error) {
      this.#confirm();
      if (!(error instanceof Refusal)) throw error;
      return verdict("refused", error.message);
    }
  }

  /** The start of the next tag at the level of the stream: between frames only white space may come (RFC 6120 §4.4). */
  #gap(): number {
    const text = this.#text;
    let at = this.#last;
    while (at < text.length && " \t\r\n".includes(text[at]!)) at++;
    if (at < text.length && (text[at] !== "<" || text.startsWith("<![CDATA[", at)))
      throw new Refusal("text in the stream");
    return at;
  }

  #opened(tag: Tag): void {
    this.#confirm();
    checkNcName(tag.local);
    const depth = this.open.length;
    if (depth === 0) {
      const declaration = /^<\?xml[ \t\r\n]/.test(this.#text) ? this.#text.indexOf("?>") + 2 : 0;
      const start = this.#text.indexOf("<", declaration);
      this.#add(tag, start, KIND.streamHeader, false, "");
    } else {
      if (depth === 1) this.#building = { start: this.#gap(), usesStreamPrefix: false, top: tag, child: "" };
      if (depth === 2) this.#building!.child ||= `{${tag.uri}}${tag.local}`;
      if (this.#dependsOnHeader(tag)) this.#building!.usesStreamPrefix = true;
    }
    this.open.push(tag);
  }

  #dependsOnHeader(tag: Tag): boolean {
    const inFrame = [...this.open.slice(1), tag];
    const own = (prefix: string) => inFrame.some(({ ns }) => ns[prefix] !== undefined);
    if (tag.prefix === "" && !own("") && this.open[0]!.ns[""] !== NS.client) return true;
    const prefixes = [tag.prefix, ...Object.values(tag.attributes).map(({ prefix }) => prefix)];
    return prefixes.some((prefix) => prefix !== "" && prefix !== "xml" && prefix !== "xmlns" && !own(prefix));
  }

  #closed(): void {
    this.#confirm();
    const depth = this.open.length;
    this.open.pop();
    if (depth === 1) {
      this.#gap();
      this.#last = this.#parser.position;
      this.#ended = true;
    }
    if (depth !== 2) return;
    const { start, usesStreamPrefix, top, child } = this.#building!;
    this.#add(top, start, kindOf(top), usesStreamPrefix, child);
  }

  #add(tag: Tag, start: number, kind: FrameKind, usesStreamPrefix: boolean, child: string): void {
    this.#last = this.#parser.position;
    let attributes = "";
    for (const name in tag.attributes) attributes += `${name}=${tag.attributes[name]!.value}\n`;
    const offset = (index: number) => Buffer.byteLength(this.#text.slice(0, index));
    const end = offset(this.#last);
    this.#closing = { start: offset(start), end, kind, usesStreamPrefix, name: tag.local, attributes, child };
  }

  #confirm(): void {
    if (this.#closing !== null) this.frames.push(this.#closing);
    this.#closing = null;
  }
}

/** Not even the oracle can say. */
export class Undecided extends Error {}

/** saxes looks only for the colon of a QName; each part must be an NCName (Namespaces in XML 1.0 §4). */
function checkNcName(name: string): void {
  if (!NC_NAME_START.test(name)) throw new Refusal("part of a qualified name that is no NCName");
}

/** The text of the longest prefix that is UTF-8, and what follows it: an unfinished character, or bytes that are none. */
function decode(bytes: Buffer): { text: string; rest: "" | "unfinished" | "invalid" } {
  const read = (length: number): string | null => {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(0, length), {
        stream: true,
      });
    } catch {
      return null;
    }
  };
  const all = read(bytes.length);
  if (all !== null) return { text: all, rest: Buffer.byteLength(all) < bytes.length ? "unfinished" : "" };
  let valid = 0;
  let invalid = bytes.length;
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >> 1;
    if (read(middle) === null) invalid = middle;
    else valid = middle;
  }
  return { text: read(valid)!, rest: "invalid" };
}

/** The verdict on `bytes`. Throws Undecided. */
export function judge(bytes: Buffer): Verdict {
  const { text, rest } = decode(bytes);
  const verdict = new Oracle(text).run();
  if (rest === "" || verdict.outcome === "refused") return verdict;
  // Behind the end of the stream only white space may come, and no character beyond ASCII begins with that.
  const refused = rest === "invalid" || verdict.outcome === "end";
  return refused ? { frames: verdict.frames, outcome: "refused", reason: "not UTF-8, or behind the end" } : verdict;
}

/**
 * Whether anything could still come that makes a well-formed stream of `bytes`: our framer refuses `</b` inside `<a>` at
 * once, where saxes waits for the `>`. Tries the ways to finish whatever is open.
 */
export function canGoOn(bytes: Buffer): boolean {
  const { text, rest } = decode(bytes);
  if (rest === "invalid") return false;
  // An unfinished character: one that may stand wherever a character beyond ASCII may.
  const start = rest === "unfinished" ? `${text}é` : text;
  const oracle = new Oracle(start);
  if (oracle.run().outcome !== "more") return false;
  const names = oracle.open.map(({ name }) => name).reverse();
  const close = (from: number) =>
    names
      .slice(from)
      .map((name) => `</${name}>`)
      .join("");
  const finishes = FINISHES.map((finish) => finish + close(0));
  const [innermost = ""] = names;
  const endTag = `/${innermost}>`;
  for (let i = 0; i < endTag.length; i++) finishes.push(endTag.slice(i) + close(1));
  return finishes.some((finish) => isWhole(start + finish));
}

function isWhole(text: string): boolean {
  try {
    return new Oracle(text).run().outcome === "end";
  } catch (error) {
    if (error instanceof Undecided) return false;
    throw error;
  }
}

const REFERENCES = ["amp;", "mp;", "p;", "lt;", "t;", "gt;", "apos;", "pos;", "os;", "s;", "quot;", "uot;", "ot;", ";"];
const CHARACTERS = ["#65;", "#x41;", "x41;", "65;", "1;", "0;", "A;", "D;"];
const TAG_ENDS = [
  "/>",
  ">",
  "'/>",
  '"/>',
  "'v'/>",
  "='v'/>",
  "a/>",
  "a='v'/>",
  " a='v'/>",
  ":a='v'/>",
  ":a/>",
  "c:c/>",
];
const FINISHES = [
  "",
  "a/>",
  "]]>",
  "]>",
  "[CDATA[]]>",
  ...Array.from("CDATA[", (_, i) => `${"CDATA[".slice(i)}]]>`),
  ...TAG_ENDS,
  ...[...REFERENCES, ...CHARACTERS].flatMap((finish) => [finish, `${finish}'/>`, `${finish}"/>`]),
];
