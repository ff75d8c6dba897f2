import { type FrameKind, KIND } from "./frame.ts";
import type { FramerLimits } from "./framer.ts";
import { TagAttributes } from "./framer-attributes.ts";
import { FrameNamespaces, namespaceOf, type StreamRoot } from "./framer-namespaces.ts";
import { ReferenceReader } from "./framer-reference.ts";
import { refusal } from "./framer-refusals.ts";
import { usualRoad } from "./framer-road.ts";
import * as stages from "./framer-stages.ts";
import { readOn } from "./framer-states.ts";
import { NS } from "./ns.ts";
import type { XmlDeclaration } from "./xml-declaration.ts";

// Constants of this module: the compiler knows them, and looks up imported ones each time.
const { DECLARES, FLAG, SCAN, STAGE } = stages;

/** Fewer new bytes than this are read one by one: the road may begin a tag again, and must not do so for each byte. */
const MIN_FRESH = 16;
/** Limits beyond this are none: positions are 32-bit integers. */
const MOST = 0x3fff_ffff;

/**
 * All that is known about one frame while it is read: the strict XML machine (XML 1.0 5th edition, Namespaces 1.0, less
 * what RFC 6120 §11.1 forbids). It may stop after any byte and go on with the next chunk. Its two halves are `usualRoad`
 * and `readOn`; only they and their helpers touch these fields.
 *
 * Positions in fields are relative to `base`, so that the bytes may move to another buffer in between. A framer holds one
 * of these only while a frame is incomplete; see `borrowScan`.
 */
export class FrameScan {
  /** Where the frame begins in the buffer that `run` is given. */
  base = 0;
  /** Where `run` stopped, in the same buffer. */
  pos = 0;
  kind: FrameKind = KIND.other;
  usesStreamPrefix = false;
  /** Where the top start tag and its name end. */
  tagEnd = 0;
  nameEnd = 0;
  /** Of a header: the root that it opens. */
  declared: StreamRoot | null = null;

  limits: FramerLimits | null = null;
  maxBytes = 0;
  maxDepth = 0;
  maxElements = 0;
  maxAttributes = 0;
  /** Null: the frame is the header itself. */
  root: StreamRoot | null = null;
  /** The number of the root's default namespace (see framer-namespaces.ts). */
  defaultNamespace = 0;
  /** Bytes before the frame that count towards its limit. */
  spent = 0;
  /** `<?xml` may come. */
  mayDeclare = false;
  /** The flags that every start tag of this frame begins with. */
  baseFlags = 0;

  stage: number = STAGE.afterLt;
  depth = 0;
  elements = 0;
  /** Where the name or `<!` that is being read begins. */
  token = 0;
  /** Where the colon of that name is; 0: none. */
  colon = 0;
  quote = 0;
  flags = 0;
  attributeCount = 0;
  attributeMask = 0;
  declares: number = DECLARES.nothing;
  /** Where the name of a prefix declaration ends. */
  declaredEnd = 0;
  valueAt = 0;
  /** The value that is being read has a reference in it, and may spell a name that way. */
  dirty = false;
  elementColon = 0;
  /** The top element's own default namespace as a span; -1: none. */
  defaultAt = -1;
  defaultEnd = 0;
  defaultDirty = false;
  /** Depth of the outermost open element with a default namespace of its own; 0: none. Only right with `mustLeave`. */
  defaultDepth = 0;
  /** Not 0: `leave` must be told of closed elements. */
  mustLeave = 0;
  /** Start and end of the name of every open element. */
  names: Int32Array = new Int32Array(2 * 32);
  readonly attributes = new TagAttributes();
  readonly namespaces = new FrameNamespaces();
  readonly reference = new ReferenceReader();
  declaration: XmlDeclaration | null = null;

  /** Begins with the frame of an open stream whose `<` is at `base`. */
  begin(base: number, limits: FramerLimits, root: StreamRoot): void {
    if (this.limits !== limits) this.#obey(limits);
    if (this.root !== root) this.#enter(root);
    this.#reset(base, 0);
  }

  /** Begins with a stream header. `spent` bytes of its limit are used up; `mayDeclare` says whether `<?xml` may come. */
  beginHeader(base: number, limits: FramerLimits, spent: number, mayDeclare: boolean): void {
    this.#obey(limits);
    this.#enter(null);
    this.mayDeclare = mayDeclare;
    this.#reset(base, spent);
  }

  #reset(base: number, spent: number): void {
    this.base = base;
    this.pos = base + 1;
    this.spent = spent;
    this.usesStreamPrefix = false;
    this.stage = STAGE.afterLt;
    this.depth = 0;
    this.elements = 0;
    this.defaultAt = -1;
    this.defaultDepth = 0;
    this.mustLeave = this.baseFlags;
    if (this.namespaces.count !== 0) this.namespaces.clear();
    if (this.attributes.hits !== 0) this.attributes.clear();
  }

  #obey(limits: FramerLimits): void {
    this.limits = limits;
    this.maxBytes = Math.min(limits.maxBytes, MOST);
    this.maxDepth = Math.min(limits.maxDepth, MOST);
    this.maxElements = Math.min(limits.maxElements, MOST);
    this.maxAttributes = Math.min(limits.maxAttributes, MOST);
  }

  #enter(root: StreamRoot | null): void {
    this.root = root;
    this.mayDeclare = false;
    this.defaultNamespace = root === null ? 0 : namespaceOf(root.defaultNamespace);
    this.baseFlags = root === null || root.defaultNamespace === NS.client ? 0 : FLAG.foreignDefault;
  }

  /** The bytes from `base` on are now at `base` of another buffer. */
  moveTo(base: number): void {
    this.pos += base - this.base;
    this.base = base;
  }

  /** Whether it is no larger than what usual frames make of it. */
  isSmall(): boolean {
    return this.names.length <= MAX_KEPT && this.namespaces.room <= MAX_KEPT;
  }

  growNames(): Int32Array {
    const larger = new Int32Array(this.names.length * 2);
    larger.set(this.names);
    this.names = larger;
    return larger;
  }

  /**
   * Reads on, up to `end`. Answers one of SCAN and throws FramingError. `words` are the same bytes as `b`, from `shift`
   * bytes before them, as far as they fill words. `fresh` is how many of the bytes are new.
   */
  run(b: Buffer, words: Int32Array, shift: number, end: number, fresh: number): number {
    const limit = (this.base + this.maxBytes - this.spent) | 0;
    // biome-ignore lint/complexity/useMathMinMax: Math.min makes a floating-point number of it.
    const stop = end < limit ? end : limit;
    for (;;) {
      const atStart = this.stage === STAGE.afterLt || this.stage === STAGE.inText;
      let what: number = SCAN.handOver;
      if (atStart && fresh >= MIN_FRESH) what = usualRoad(this, b, words, shift, stop);
      if (what === SCAN.handOver) what = readOn(this, b, stop);
      if (what === SCAN.handOver) continue;
      if (what === SCAN.more && stop < end) {
        throw refusal(this, "policy-violation", `more than ${this.limits?.maxBytes} bytes`, stop);
      }
      return what;
    }
  }
}

/** Scans that no framer needs at the moment. An idle framer holds none. */
const spares: FrameScan[] = [];
const MAX_SPARES = 16;
/** Numbers in one list of a scan that is kept. */
const MAX_KEPT = 1024;

export function borrowScan(): FrameScan {
  return spares.pop() ?? new FrameScan();
}

export function giveBackScan(scan: FrameScan): void {
  if (spares.length < MAX_SPARES && scan.isSmall()) spares.push(scan);
}
