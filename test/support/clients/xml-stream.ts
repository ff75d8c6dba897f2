import { StringDecoder } from "node:string_decoder";
import { SaxesParser, type SaxesTagNS } from "saxes";

/** A first-level element of a stream, or one below it. */
export class Element {
  /** Local name. */
  readonly name: string;
  readonly ns: string;
  readonly attrs: Readonly<Record<string, string>>;
  readonly children: (Element | string)[] = [];
  /** As it stood on the wire; first-level elements only. */
  xml = "";

  constructor(tag: SaxesTagNS) {
    this.name = tag.local;
    this.ns = tag.uri;
    const attrs: Record<string, string> = {};
    for (const [name, attribute] of Object.entries(tag.attributes)) attrs[name] = attribute.value;
    this.attrs = attrs;
  }

  get elements(): Element[] {
    return this.children.filter((child) => typeof child !== "string");
  }

  child(name: string, ns?: string): Element | undefined {
    return this.elements.find((child) => child.name === name && (ns === undefined || child.ns === ns));
  }

  /** The text of `name`'s element below this one, null without such an element. Without a name: its own. */
  text(name?: string): string | null {
    if (name !== undefined) return this.child(name)?.text() ?? null;
    return this.children.map((child) => (typeof child === "string" ? child : child.text())).join("");
  }
}

export interface XmlStreamEvents {
  header(attrs: Readonly<Record<string, string>>): void;
  element(element: Element): void;
  /** `</stream:stream>` */
  end(): void;
  error(error: Error): void;
}

/** Splits an XML stream into its first-level elements, with a parser that has nothing in common with the product's framer. */
export class XmlStream {
  #parser = new SaxesParser({ xmlns: true });
  #decoder = new StringDecoder("utf8");
  #events: XmlStreamEvents;
  #open: Element[] = [];
  #depth = 0;
  /** Text from the end of the last first-level element on. */
  #pending = "";
  #pendingAt = 0;
  #failed = false;

  constructor(events: XmlStreamEvents) {
    this.#events = events;
    this.#parser.on("opentag", (tag) => this.#opened(tag));
    this.#parser.on("closetag", () => this.#closed());
    this.#parser.on("text", (text) => this.#open.at(-1)?.children.push(text));
    this.#parser.on("cdata", (text) => this.#open.at(-1)?.children.push(text));
    for (const kind of ["comment", "doctype", "processinginstruction"] as const) {
      this.#parser.on(kind, () => this.#fail(new Error(`${kind} in an XMPP stream`)));
    }
    this.#parser.on("error", (error) => this.#fail(error));
  }

  write(bytes: Buffer): void {
    if (this.#failed) return;
    const text = this.#decoder.write(bytes);
    if (text === "") return;
    this.#pending += text;
    this.#parser.write(text);
  }

  #opened(tag: SaxesTagNS): void {
    this.#depth++;
    const element = new Element(tag);
    if (this.#depth === 1) {
      this.#takePending();
      this.#events.header(element.attrs);
      return;
    }
    this.#open.at(-1)?.children.push(element);
    this.#open.push(element);
  }

  #closed(): void {
    this.#depth--;
    if (this.#depth === 0) {
      this.#events.end();
      return;
    }
    const element = this.#open.pop()!;
    if (this.#depth > 1) return;
    element.xml = this.#takePending();
    if (!this.#failed) this.#events.element(element);
  }

  #takePending(): string {
    const end = this.#parser.position - this.#pendingAt;
    const taken = this.#pending.slice(0, end);
    this.#pending = this.#pending.slice(end);
    this.#pendingAt += end;
    return taken.trimStart();
  }

  #fail(error: Error): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#events.error(new Error(`${error.message} near: ${this.#pending.slice(-200)}`));
  }
}

/** For text and for attribute values in either kind of quotes. */
export function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => ENTITIES[char]!);
}

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;" };
