/**
 * Where the scan of a frame stands, so that it can stop after any byte. Hot code copies these into constants of its own
 * module: only those are known to the compiler.
 */
export const STAGE = {
  /** Right behind `<`. */
  afterLt: 0,
  inText: 1,
  inName: 2,
  /** Behind the name of a start tag, or behind an attribute. */
  afterToken: 3,
  /** In a start tag, behind white space. */
  inTag: 4,
  inAttribute: 5,
  beforeEquals: 6,
  beforeValue: 7,
  inValue: 8,
  afterSlash: 9,
  inEndName: 10,
  afterEndName: 11,
  inReference: 12,
  /** Behind the colon of an element's name, of an attribute's name. */
  localName: 13,
  localAttribute: 14,
  /** Behind `<!`. */
  afterBang: 15,
  inCdata: 16,
  inDeclaration: 17,
  inStreamEnd: 18,
} as const;

/** What a start tag holds that must be settled at its end. */
export const FLAG = {
  elementPrefix: 1,
  attributePrefix: 2,
  /** The stream's default namespace is not jabber:client: every unprefixed element may count as using the header. */
  foreignDefault: 4,
} as const;

/** What the attribute that is being read declares. */
export const DECLARES = { nothing: 0, defaultNamespace: 1, prefix: 2 } as const;

/** What a scan answers. */
export const SCAN = {
  /** All bytes are read and the frame is not complete. */
  more: 0,
  element: 1,
  header: 2,
  /** A stream header that is closed at once. */
  emptyHeader: 3,
  declaration: 4,
  streamEnd: 5,
  /** Among the parts of the scan: the other half goes on; the next stage does. */
  handOver: 6,
  goOn: 7,
} as const;
