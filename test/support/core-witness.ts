import { type Direction, WeakLink, type WeakLinkOptions } from "./weak-link.ts";

/** A stanza in the text of a stream, up to the number in its body. */
const MESSAGE = /<message\b([^>]*)>(?:(?!<\/message>)[\s\S])*?<body>(\S+) (\d+) /g;
const RECIPIENT = /\bto=(?:'([^'/]*)|"([^"/]*))/;
/** More than a message of a phone takes. */
const CARRY_CHARS = 4096;

/** What one connection has said in one direction. */
interface Stream {
  carry: string;
  /** By recipient, the highest number so far. */
  readonly highest: Map<string, number>;
}

/**
 * Stands between the edges and their core, on plain connections, and reads the numbered messages of phones (./phone.ts) on their way.
 * It knows whether messages were out of order already when they left the core: ejabberd takes a message that arrives in the moment of a
 * resume, and hands it to the session behind those that come after it.
 */
export class CoreWitness {
  readonly links: WeakLink;
  /** Messages that an edge gave to the core behind later ones on the same connection: nothing excuses it. */
  readonly misled: string[] = [];
  readonly #streams = new WeakMap<object, Record<Direction, Stream>>();
  /** By recipient and run, the numbers in the order in which the core sent each for the first time. */
  readonly #said = new Map<string, Map<number, number>>();

  private constructor(links: WeakLink) {
    this.links = links;
    links.onBytes = (link, direction, chunk) => this.#read(link, direction, chunk);
  }

  static async listen(to: WeakLinkOptions["to"]): Promise<CoreWitness> {
    return new CoreWitness(await WeakLink.listen({ to }));
  }

  /** For `core: { connect }` of an edge. */
  get connect(): string {
    return `tcp://127.0.0.1:${this.links.port}`;
  }

  /** Whether the core sent message `later` to `bareJid` for the first time when it had sent it message `earlier` already. */
  saw(bareJid: string, run: string, earlier: number, later: number): boolean {
    const said = this.#said.get(`${bareJid} ${run}`);
    const [first, second] = [said?.get(earlier), said?.get(later)];
    return first !== undefined && second !== undefined && first < second;
  }

  close(): Promise<void> {
    return this.links.close();
  }

  #read(link: object, direction: Direction, chunk: Buffer): void {
    let streams = this.#streams.get(link);
    if (streams === undefined) {
      streams = { up: { carry: "", highest: new Map() }, down: { carry: "", highest: new Map() } };
      this.#streams.set(link, streams);
    }
    const stream = streams[direction];
    const text = stream.carry + chunk.toString("latin1");
    let end = 0;
    for (const { index, 0: all, 1: attributes, 2: run, 3: number } of text.matchAll(MESSAGE)) {
      end = index + all.length;
      const recipient = RECIPIENT.exec(attributes!);
      if (recipient === null || /\btype=['"]error['"]/.test(attributes!)) continue;
      this.#passed(stream, direction, `${recipient[1] ?? recipient[2]} ${run}`, Number(number));
    }
    stream.carry = text.slice(Math.max(end, text.length - CARRY_CHARS));
  }

  #passed(stream: Stream, direction: Direction, recipient: string, n: number): void {
    const highest = stream.highest.get(recipient) ?? 0;
    stream.highest.set(recipient, Math.max(highest, n));
    if (direction === "up") {
      if (n < highest) this.misled.push(`${n} after ${highest} to ${recipient}`);
      return;
    }
    const said = this.#said.get(recipient) ?? new Map<number, number>();
    if (!said.has(n)) said.set(n, said.size);
    this.#said.set(recipient, said);
  }
}
