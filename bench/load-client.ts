/** A client that costs little: it logs in by a script of regular expressions and then only counts marks in the bytes. */
import { BoshWire } from "./bosh-wire.ts";
import { StreamWire } from "./stream-wire.ts";
import { WebSocketWire } from "./websocket-wire.ts";
import type { LoadTarget, Wire } from "./wire.ts";

const PATIENCE_MS = 60_000;
const SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
const SM = "urn:xmpp:sm:3";

/** Stands in each body in front of the time in microseconds, which has so many digits. */
const MARK = "@=@";
const MARK_BYTES = Buffer.from(MARK);
const DIGITS = 15;
const REQUEST_BYTES = Buffer.from("<r ");
const REQUEST = Buffer.from(`<r xmlns='${SM}'/>`);
/** A client asks for an acknowledgement after so many messages of its own. */
const REQUEST_EVERY = 10;

export class LoadClient {
  readonly user: string;
  readonly #domain: string;
  readonly #wire: Wire;
  /** A message arrived that was sent `ms` ago. */
  onMessage: ((client: LoadClient, ms: number) => void) | null = null;
  /** The connection ended. */
  onLost: ((client: LoadClient, why: string) => void) | null = null;
  jid = "";
  #text = "";
  #wait: { pattern: RegExp; done: (text: string) => void; failed: (error: Error) => void } | null = null;
  #loaded = false;
  #sm = false;
  #handled = 0;
  #sent = 0;
  #template: Buffer = Buffer.alloc(0);
  #stampAt = 0;
  #tail: Buffer | null = null;

  private constructor(user: string, domain: string, wire: Wire) {
    this.user = user;
    this.#domain = domain;
    this.#wire = wire;
    wire.onBytes = (bytes) => this.#received(bytes);
    wire.onLost = (why) => this.#lost(why);
  }

  /** Connects, logs in with PLAIN, binds, turns XEP-0198 on if asked to, and sends presence. */
  static async login(target: LoadTarget, user: string, password: string, sm: boolean): Promise<LoadClient> {
    const wire = await openWire(target);
    const client = new LoadClient(user, target.domain, wire);
    const { xmlns } = wire;
    await client.#ask(null, /<\/stream:features>/);
    const plain = Buffer.from(`\0${user}\0${password}`).toString("base64");
    await client.#ask(`<auth xmlns='${SASL}' mechanism='PLAIN'>${plain}</auth>`, /<success/);
    await client.#ask(null, /<\/stream:features>/);
    const bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>load</resource></bind>";
    const bound = await client.#ask(`<iq${xmlns} type='set' id='b'>${bind}</iq>`, /<\/iq>/);
    client.jid = /<jid>([^<]+)/.exec(bound)?.[1] ?? "";
    if (client.jid === "") throw new Error(`bind refused: ${bound}`);
    if (sm) {
      const answer = await client.#ask(`<enable xmlns='${SM}' resume='true'/>`, /<(enabled|failed)[^>]*>/);
      if (!answer.includes("<enabled")) throw new Error(`stream management refused: ${answer}`);
      // From here on stanzas count; what comes is our own presence, and it may bring an <r/> along.
      client.#sm = true;
    }
    await client.#ask(`<presence${xmlns}/>`, new RegExp(`<presence [^>]*from=['"]${client.jid}`));
    client.#handled = 1;
    client.#loaded = true;
    if (sm) wire.write(client.#answer());
    return client;
  }

  /** What `send` writes from now on: a chat message of `bytes` bytes to another client. */
  address(to: string, bytes: number): void {
    const id = Math.random().toString(16).slice(2, 14).padEnd(12, "0");
    const head = `<message${this.#wire.xmlns} type='chat' to='${to}' id='${id}' xml:lang='en'><body>${MARK}${"0".repeat(DIGITS)} `;
    const tail =
      `</body><request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>` +
      `<origin-id xmlns='urn:xmpp:sid:0' id='${id}'/></message>`;
    const words = "the quick brown fox jumps over the lazy dog ".repeat(100);
    this.#template = Buffer.from(head + words.slice(0, Math.max(0, bytes - head.length - tail.length)) + tail);
    this.#stampAt = this.#template.indexOf(MARK_BYTES) + MARK.length;
  }

  send(): void {
    const stanza = Buffer.from(this.#template);
    let time = Math.floor(performance.now() * 1000);
    for (let i = this.#stampAt + DIGITS - 1; i >= this.#stampAt; i--) {
      stanza[i] = 48 + (time % 10);
      time = Math.floor(time / 10);
    }
    const asks = this.#sm && ++this.#sent % REQUEST_EVERY === 0;
    if (asks) this.#wire.write(stanza, REQUEST);
    else this.#wire.write(stanza);
  }

  /** A polite end: a server that keeps sessions lets this one go at once. */
  async end(): Promise<void> {
    this.onLost = null;
    if (this.#sm) this.#wire.write(this.#answer());
    await this.#wire.end();
  }

  #received(chunk: Buffer): void {
    if (!this.#loaded) return this.#scripted(chunk.toString("latin1"));
    const bytes = this.#tail === null ? chunk : Buffer.concat([this.#tail, chunk]);
    this.#tail = null;
    let end = 0;
    for (;;) {
      const at = bytes.indexOf(MARK_BYTES, end);
      if (at < 0) break;
      const stamp = at + MARK.length;
      if (stamp + DIGITS > bytes.length) {
        end = at;
        break;
      }
      let time = 0;
      for (let i = stamp; i < stamp + DIGITS; i++) time = time * 10 + bytes[i]! - 48;
      end = stamp + DIGITS;
      this.#handled++;
      this.onMessage?.(this, performance.now() - time / 1000);
    }
    if (this.#sm && bytes.indexOf(REQUEST_BYTES) >= 0) this.#wire.write(this.#answer());
    // Only a chunk that ends within a stanza can end within a mark.
    if (bytes[bytes.length - 1] !== 0x3e) {
      this.#tail = bytes.subarray(Math.max(end, bytes.length - MARK.length - DIGITS + 1));
    }
  }

  #answer(): Buffer {
    return Buffer.from(`<a xmlns='${SM}' h='${this.#handled}'/>`);
  }

  #scripted(text: string): void {
    this.#text += text;
    const wait = this.#wait;
    if (wait === null) return;
    if (/<stream:error|<failure|type=['"]error/.test(this.#text)) {
      this.#wait = null;
      return wait.failed(new Error(`${this.user}: refused: ${this.#text}`));
    }
    if (!wait.pattern.test(this.#text)) return;
    this.#wait = null;
    wait.done(this.#text);
  }

  /** `xml` null: a new stream. */
  #ask(xml: string | null, pattern: RegExp): Promise<string> {
    this.#text = "";
    const answer = new Promise<string>((done, failed) => {
      const timer = setTimeout(() => failed(new Error(`${this.user}: no ${pattern}, got ${this.#text}`)), PATIENCE_MS);
      this.#wait = {
        pattern,
        done: (text) => {
          clearTimeout(timer);
          done(text);
        },
        failed: (error) => {
          clearTimeout(timer);
          failed(error);
        },
      };
    });
    if (xml === null) this.#wire.open();
    else this.#wire.write(Buffer.from(xml));
    return answer;
  }

  #lost(why: string): void {
    const wait = this.#wait;
    this.#wait = null;
    wait?.failed(new Error(`${this.user} of ${this.#domain}: connection lost: ${why}`));
    this.onLost?.(this, why);
    this.onLost = null;
  }
}

async function openWire(target: LoadTarget): Promise<Wire> {
  if (!target.http) return StreamWire.connect(target);
  return target.http.kind === "websocket" ? WebSocketWire.connect(target) : new BoshWire(target);
}
