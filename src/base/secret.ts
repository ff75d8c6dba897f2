import { inspect } from "node:util";

const SHOWN = "[secret]";

/** A text that must never reach a log or a terminal: whatever prints it shows `[secret]`. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The text itself. Hand it to what needs it at once, and keep the Secret, not the text. */
  reveal(): string {
    return this.#text;
  }

  /** Characters, for bounds. */
  get length(): number {
    return this.#text.length;
  }

  /** Whether both hold the same text: tells a reload that nothing changed. */
  equals(other: unknown): boolean {
    return other instanceof Secret && other.#text === this.#text;
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }

  [inspect.custom](): string {
    return SHOWN;
  }
}
