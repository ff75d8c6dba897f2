import { FramingError } from "./framing-error.ts";

const NAMES = ["version", "encoding", "standalone"] as const;

/** Where the reader stands in `<?xml S version Eq … (S encoding Eq …)? (S standalone Eq …)? S? ?>` (XML 1.0 §2.8). */
type Step = "target" | "next" | "name" | "equals" | "quote" | "value" | "after value" | "close";

/**
 * Reads the XML declaration that a stream may begin with (RFC 6120 §11.5), byte by byte: it comes once per stream at most.
 * The framer hands it what follows `<?`.
 */
export class XmlDeclaration {
  #step: Step = "target";
  /** Bytes of a literal that matched, or the characters of a value. */
  #matched = 0;
  #value = "";
  #quote = 0;
  /** Index in NAMES of the attribute being read. */
  #name = -1;

  /** Reads on from `p`. Returns the position past `?>`, or -1 when `end` comes first. */
  read(b: Uint8Array, p: number, end: number): number {
    while (p < end) {
      if (this.#take(b[p++]!)) return p;
    }
    return -1;
  }

  #take(byte: number): boolean {
    const space = byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
    switch (this.#step) {
      case "target":
        if (this.#matched < 3 ? byte !== "xml".charCodeAt(this.#matched++) : !space) {
          throw new FramingError("restricted-xml", "processing instruction in the stream");
        }
        if (space) this.#step = "next";
        return false;
      case "after value":
        if (space) this.#step = "next";
        else if (byte === 0x3f) this.#step = "close";
        else throw this.#malformed();
        return false;
      case "next":
        if (space) return false;
        if (byte === 0x3f && this.#name >= 0) {
          this.#step = "close";
          return false;
        }
        this.#begin(byte);
        return false;
      case "name": {
        const name = NAMES[this.#name]!;
        if (this.#matched < name.length) {
          if (byte !== name.charCodeAt(this.#matched++)) throw this.#malformed();
          return false;
        }
        this.#step = "equals";
        return this.#take(byte);
      }
      case "equals":
        if (space) return false;
        if (byte !== 0x3d) throw this.#malformed();
        this.#step = "quote";
        return false;
      case "quote":
        if (space) return false;
        if (byte !== 0x22 && byte !== 0x27) throw this.#malformed();
        this.#quote = byte;
        this.#value = "";
        this.#step = "value";
        return false;
      case "value":
        if (byte === this.#quote) {
          this.#check();
          this.#step = "after value";
          return false;
        }
        this.#value += String.fromCharCode(byte);
        // All that version, encoding and standalone may hold.
        if (!/[A-Za-z0-9._-]/.test(String.fromCharCode(byte))) throw this.#malformed();
        return false;
      default:
        if (byte !== 0x3e) throw this.#malformed();
        return true;
    }
  }

  /** `byte` begins the name of an attribute: version first, the others in their order. */
  #begin(byte: number): void {
    const first = this.#name + 1;
    const next = NAMES.findIndex((name, i) => i >= first && name.charCodeAt(0) === byte);
    if (next < 0 || (first === 0 && next !== 0)) throw this.#malformed();
    this.#name = next;
    this.#matched = 1;
    this.#step = "name";
  }

  #check(): void {
    const value = this.#value;
    switch (NAMES[this.#name]) {
      case "version":
        if (!/^1\.[0-9]+$/.test(value)) throw this.#malformed();
        return;
      case "encoding":
        if (!/^[A-Za-z][A-Za-z0-9._-]*$/.test(value)) throw this.#malformed();
        if (value.toLowerCase() !== "utf-8") {
          throw new FramingError("unsupported-encoding", "the XML declaration names an encoding other than UTF-8");
        }
        return;
      default:
        if (value !== "yes" && value !== "no") throw this.#malformed();
    }
  }

  #malformed(): FramingError {
    const name = NAMES[this.#name];
    return new FramingError("not-well-formed", `malformed XML declaration${name ? ` at "${name}"` : ""}`);
  }
}
