const ENTITIES: Record<string, string> = { amp: "&", lt: "<", gt: ">", apos: "'", quot: '"' };

/**
 * The value that an XML processor reports for the raw bytes between the quotes (XML 1.0 §2.11 and §3.3.3): references
 * resolved, every literal white space character a space, CR LF one space. The bytes are proven well-formed.
 */
export function attributeValue(b: Buffer, start: number, end: number): string {
  const raw = b.toString("utf8", start, end);
  return /[&\t\n\r]/.test(raw)
    ? raw.replace(/\r\n|[\t\n\r]/g, " ").replace(/&([^;]*);/g, (_, name) => refer(name))
    : raw;
}

function refer(name: string): string {
  if (name.charCodeAt(0) !== 0x23) return ENTITIES[name] ?? "";
  const hex = name.charCodeAt(1) === 0x78;
  return String.fromCodePoint(Number.parseInt(name.slice(hex ? 2 : 1), hex ? 16 : 10));
}
