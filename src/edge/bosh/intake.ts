import type { Link, LinkOwner } from "../../session/ports.ts";
import type { FramerLimits } from "../../xmpp/framer.ts";
import { FramingError } from "../../xmpp/framing-error.ts";
import { NS } from "../../xmpp/ns.ts";
import { attributesText } from "./answers.ts";
import { type Body, PayloadReader } from "./body.ts";

/** What the requests of one client bring, as its stream: bodies in the order of their `rid`, read frame by frame. */
export class Intake {
  readonly #reader: PayloadReader;
  // The first of them is being read, or waits for the owner.
  #bodies: Body[] = [];
  #reading = false;
  #restartDue = true;
  // What the opening tags of the stream say.
  readonly #header: Record<string, string> = {};

  constructor(limits: FramerLimits) {
    this.#reader = new PayloadReader(limits);
  }

  get limits(): FramerLimits {
    return this.#reader.limits;
  }

  set limits(limits: FramerLimits) {
    this.#reader.limits = limits;
  }

  /** Bodies that are not read to their end. */
  get length(): number {
    return this.#bodies.length;
  }

  add(body: Body): void {
    this.#bodies.push(body);
  }

  clear(): void {
    this.#bodies = [];
    this.#reading = false;
  }

  /** The next thing that the client says has to be `xmpp:restart` (XEP-0206 §5). */
  restart(): void {
    this.#restartDue = true;
  }

  /** Reads one frame, or the end of a body. "terminate": of the last one. Throws FramingError for what no body may hold. */
  read(link: Link, owner: LinkOwner): "terminate" | null {
    const body = this.#bodies[0]!;
    if (!this.#reading) {
      this.#reading = true;
      if (body.restart) {
        owner.linkHeader(link, this.#reader.open(this.#openingTag(body)));
        return null;
      }
      this.#reader.begin(body);
    }
    const frame = this.#reader.next();
    if (frame !== null) {
      if (this.#restartDue) {
        throw new FramingError("bad-format", "the stream begins anew after the login: xmpp:restart (XEP-0206 §5)");
      }
      owner.linkFrame(link, frame);
      return null;
    }
    this.#reading = false;
    this.#bodies.shift();
    return body.attributes.get("type") === "terminate" ? "terminate" : null;
  }

  // What the client does not say again holds from before. COMPAT: no xmpp:version is 1.0; BOSH knows no older XMPP.
  #openingTag({ attributes, version }: Body): Buffer {
    this.#restartDue = false;
    for (const name of ["to", "from", "xml:lang"]) {
      const value = attributes.get(name);
      if (value !== undefined) this.#header[name] = value;
    }
    this.#header.version = version ?? this.#header.version ?? "1.0";
    return Buffer.from(
      `<stream:stream xmlns='${NS.client}' xmlns:stream='${NS.streams}'${attributesText(this.#header)}>`,
    );
  }
}
