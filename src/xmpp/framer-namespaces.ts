import { attributeValue } from "./attribute-value.ts";
import { escapeText } from "./element.ts";
import { type FrameKind, KIND } from "./frame.ts";
import { NS } from "./ns.ts";

/** What a stream header declares for all that follows it. */
export interface StreamScope {
  /** "" when the header declares none. */
  readonly defaultNamespace: string;
  /** Prefix -> URI, without `xml`. */
  readonly prefixes: ReadonlyMap<string, string>;
}

/** What the frames of a stream are read by: its header, once that is read. */
export interface StreamRoot extends StreamScope {
  /** The name of the root element, for its end tag. */
  readonly name: Uint8Array;
}

/** An opening tag that declares the same. */
export function openingTagOf({ name, defaultNamespace, prefixes }: StreamRoot): Buffer {
  const declared = [...prefixes].map(([prefix, uri]) => ` xmlns:${prefix}='${escapeText(uri)}'`).join("");
  const byDefault = defaultNamespace === "" ? "" : ` xmlns='${escapeText(defaultNamespace)}'`;
  return Buffer.from(`<${Buffer.from(name).toString("utf8")}${byDefault}${declared}>`);
}

/** Namespaces that decide what a frame is. Their index here is their number; 0 is any other. */
const KNOWN = ["", NS.client, NS.streams, NS.sm, NS.sm2, NS.sasl, NS.tls, NS.csi];
const KNOWN_BYTES = KNOWN.map((uri) => Buffer.from(uri));

/** The number of the namespace whose name is, byte by byte, `b[start, end)`. */
export function namespaceOfSpan(b: Buffer, start: number, end: number): number {
  const length = end - start;
  for (let i = KNOWN_BYTES.length - 1; i > 0; i--) {
    const known = KNOWN_BYTES[i]!;
    if (known.length === length && sameBytes(known, 0, b, start, length)) return i;
  }
  return 0;
}

/** The number of the namespace with this name. */
export function namespaceOf(uri: string): number {
  return Math.max(0, KNOWN.indexOf(uri));
}

function sameBytes(a: Uint8Array, at: number, b: Uint8Array, from: number, length: number): boolean {
  for (let i = 0; i < length; i++) {
    if (a[at + i] !== b[from + i]) return false;
  }
  return true;
}

/** [namespace, local name, kind]; "" stands for every other local name of that namespace. */
const KINDS: readonly (readonly [string, string, FrameKind])[] = [
  [NS.client, "message", KIND.message],
  [NS.client, "presence", KIND.presence],
  [NS.client, "iq", KIND.iq],
  [NS.streams, "features", KIND.features],
  [NS.streams, "error", KIND.streamError],
  [NS.sm, "r", KIND.smRequest],
  [NS.sm, "a", KIND.smAnswer],
  [NS.sm, "", KIND.sm],
  [NS.sm2, "r", KIND.smRequest],
  [NS.sm2, "a", KIND.smAnswer],
  [NS.sm2, "", KIND.sm],
  [NS.sasl, "", KIND.sasl],
  [NS.tls, "", KIND.tls],
  [NS.csi, "", KIND.csi],
];
const KINDS_OF = KNOWN.map((uri) =>
  KINDS.filter(([namespace]) => uri !== "" && namespace === uri).map(([, name, kind]) => ({
    name: Buffer.from(name),
    kind,
  })),
);

/** The kind of an element by the number of its namespace and the local name in `b[start, end)`. */
export function kindOf(namespace: number, b: Buffer, start: number, end: number): FrameKind {
  const rows = KINDS_OF[namespace]!;
  for (let i = 0; i < rows.length; i++) {
    const { name, kind } = rows[i]!;
    const { length } = name;
    if (length === 0 || (length === end - start && sameBytes(name, 0, b, start, length))) return kind;
  }
  return KIND.other;
}

/** Prefixes of one frame from which on they are found through a Map: walking all of them for each name is quadratic. */
const MANY = 16;
const FIELDS = 6;

/** Answers of `resolve` that are not the number of a declaration in the frame. */
export const OF_HEADER = -1;
export const OF_XML = -2;
export const UNDECLARED = -3;

/**
 * The prefix declarations in force inside the frame that is being read, the innermost last. Positions are relative to
 * the frame. A row: prefix start, prefix end, value start, value end, depth, row it hides.
 */
export class FrameNamespaces {
  count = 0;
  #rows: Int32Array = new Int32Array(FIELDS * 8);
  #byPrefix: Map<string, number> | null = null;

  /** Numbers that there is room for. */
  get room(): number {
    return this.#rows.length;
  }

  clear(): void {
    this.count = 0;
    this.#byPrefix = null;
  }

  declare(
    b: Buffer,
    base: number,
    prefixStart: number,
    prefixEnd: number,
    valueStart: number,
    valueEnd: number,
    depth: number,
  ): void {
    const at = this.count * FIELDS;
    if (at === this.#rows.length) {
      const larger = new Int32Array(at * 2);
      larger.set(this.#rows);
      this.#rows = larger;
    }
    const rows = this.#rows;
    rows[at] = prefixStart;
    rows[at + 1] = prefixEnd;
    rows[at + 2] = valueStart;
    rows[at + 3] = valueEnd;
    rows[at + 4] = depth;
    rows[at + 5] = -1;
    this.count++;
    if (this.#byPrefix !== null) this.#index(b, base, this.count - 1);
    else if (this.count > MANY) {
      this.#byPrefix = new Map();
      for (let row = 0; row < this.count; row++) this.#index(b, base, row);
    }
  }

  #prefix(b: Buffer, base: number, row: number): string {
    return b.toString("latin1", base + this.#rows[row * FIELDS]!, base + this.#rows[row * FIELDS + 1]!);
  }

  #index(b: Buffer, base: number, row: number): void {
    const prefix = this.#prefix(b, base, row);
    this.#rows[row * FIELDS + 5] = this.#byPrefix!.get(prefix) ?? -1;
    this.#byPrefix!.set(prefix, row);
  }

  /** Forgets what the element at `depth` declared: it is closed. */
  leave(b: Buffer, base: number, depth: number): void {
    const rows = this.#rows;
    while (this.count > 0 && rows[(this.count - 1) * FIELDS + 4]! >= depth) {
      this.count--;
      if (this.#byPrefix === null) continue;
      const hidden = rows[this.count * FIELDS + 5]!;
      if (hidden >= 0) this.#byPrefix.set(this.#prefix(b, base, this.count), hidden);
      else this.#byPrefix.delete(this.#prefix(b, base, this.count));
    }
  }

  /** Finds the declaration of the prefix in `b[base + start, base + end)`: its row, OF_HEADER, OF_XML or UNDECLARED. */
  resolve(b: Buffer, base: number, start: number, end: number, scope: StreamScope | null): number {
    const length = end - start;
    if (this.#byPrefix !== null) {
      const row = this.#byPrefix.get(b.toString("latin1", base + start, base + end));
      if (row !== undefined) return row;
    } else {
      for (let row = this.count - 1; row >= 0; row--) {
        const at = this.#rows[row * FIELDS]!;
        if (this.#rows[row * FIELDS + 1]! - at === length && sameBytes(b, base + at, b, base + start, length))
          return row;
      }
    }
    const prefix = b.toString("utf8", base + start, base + end);
    if (prefix === "xml") return OF_XML;
    return scope?.prefixes.has(prefix) ? OF_HEADER : UNDECLARED;
  }

  /** The URI that `resolve` found for this prefix. */
  uri(b: Buffer, base: number, start: number, end: number, found: number, scope: StreamScope | null): string {
    if (found === OF_XML) return NS.xml;
    if (found === OF_HEADER) return scope?.prefixes.get(b.toString("utf8", base + start, base + end)) ?? "";
    return attributeValue(b, base + this.#rows[found * FIELDS + 2]!, base + this.#rows[found * FIELDS + 3]!);
  }

  /** The root whose name is `b[nameStart, nameEnd)` and whose declarations these are. */
  root(b: Buffer, base: number, nameStart: number, nameEnd: number, defaultNamespace: string): StreamRoot {
    const prefixes = new Map<string, string>();
    for (let row = 0; row < this.count; row++) {
      const prefix = b.toString("utf8", base + this.#rows[row * FIELDS]!, base + this.#rows[row * FIELDS + 1]!);
      if (prefix !== "xml") prefixes.set(prefix, this.uri(b, base, 0, 0, row, null));
    }
    const { name } = USUAL_ROOT;
    const length = nameEnd - nameStart;
    const usual = defaultNamespace === NS.client && prefixes.size === 1 && prefixes.get("stream") === NS.streams;
    if (usual && length === name.length && sameBytes(name, 0, b, nameStart, length)) return USUAL_ROOT;
    return { defaultNamespace, prefixes, name: new Uint8Array(b.subarray(nameStart, nameEnd)) };
  }
}

/** What nearly every client and core sends: one object for all their streams. */
const USUAL_ROOT: StreamRoot = {
  defaultNamespace: NS.client,
  prefixes: new Map([["stream", NS.streams]]),
  name: new Uint8Array(Buffer.from("stream:stream")),
};
