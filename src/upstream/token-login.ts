import type { Clock, Timer } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Attachee, AttachFailure, Attachment, AttachOwner, CoreOwner, CoreStream } from "../session/ports.ts";
import { childElements, parseElement } from "../xmpp/element.ts";
import { type Frame, KIND } from "../xmpp/frame.ts";
import { NS } from "../xmpp/ns.ts";
import { peek } from "../xmpp/peek.ts";
import { XML_DECLARATION } from "../xmpp/stream-header.ts";
import { type CoreApi, CoreApiError } from "./core-api.ts";

const MECHANISM = "X-OAUTH2";

export interface TokenLoginInit {
  readonly clock: Clock;
  readonly api: CoreApi;
  readonly who: Attachee;
  readonly owner: AttachOwner;
  /** For connect, login and features together. */
  readonly timeoutMs: number;
  readonly dial: (owner: CoreOwner) => CoreStream;
}

/**
 * Logs an account in on a fresh stream, without its client, by a token of the core's own API (X-OAUTH2): the stream is
 * then where a client would bind or resume.
 */
export class TokenLogin implements CoreOwner, Attachment {
  readonly #init: TokenLoginInit;
  #owner: AttachOwner | null;
  #core: CoreStream | null = null;
  #token = "";
  #authenticated = false;
  readonly #timer: Timer;

  constructor(init: TokenLoginInit) {
    this.#init = init;
    this.#owner = init.owner;
    this.#timer = init.clock.after(init.timeoutMs, () => this.#fail("later", "the login took too long"));
    void this.#begin();
  }

  cancel(): void {
    this.#owner = null;
    this.#release();
  }

  async #begin(): Promise<void> {
    const { api, who, dial } = this.#init;
    try {
      await api.expectSession(who.jid, who.ageMs);
      this.#token = await api.token(who.jid);
    } catch (error) {
      return this.#fail(error instanceof CoreApiError ? error.how : "later", messageOf(error));
    }
    if (this.#owner !== null) this.#core = dial(this);
  }

  #release(): void {
    this.#timer.cancel();
    this.#token = "";
    const core = this.#core;
    this.#core = null;
    core?.drop();
  }

  #fail(how: AttachFailure, detail: string): void {
    const owner = this.#owner;
    this.cancel();
    owner?.attachFailed(how, detail);
  }

  // ---- from the core

  coreConnected(core: CoreStream): void {
    this.#open(core);
    core.flush();
  }

  #open(core: CoreStream): void {
    const { opening } = this.#init.who;
    core.write(XML_DECLARATION, 0, XML_DECLARATION.length);
    core.write(opening, 0, opening.length);
  }

  coreHeader(): void {}

  coreFrame(core: CoreStream, frame: Frame): void {
    if (frame.kind === KIND.features) return this.#features(core, frame);
    if (frame.kind === KIND.streamError) return this.#fail("later", "the core ended the stream with an error");
    if (frame.kind !== KIND.sasl) return;
    if (peek.name(frame) !== "success") return this.#fail("refused", "the core does not accept its own token");
    this.#authenticated = true;
    core.restartStream();
    this.#open(core);
  }

  #features(core: CoreStream, frame: Frame): void {
    if (!this.#authenticated) return this.#authenticate(core, frame);
    const owner = this.#owner!;
    this.#owner = null;
    this.#core = null; // the owner's from here on
    this.#release();
    owner.attached(core);
  }

  #authenticate(core: CoreStream, features: Frame): void {
    const list = parseElement(features).getChild("mechanisms", NS.sasl);
    const offered = list === undefined ? [] : childElements(list).map((child) => child.getText().trim());
    if (!offered.includes(MECHANISM)) {
      return this.#fail("refused", `the core does not offer ${MECHANISM}: is it in disable_sasl_mechanisms?`);
    }
    const message = Buffer.from(`\0${this.#init.who.jid.local}\0${this.#token}`).toString("base64");
    this.#token = "";
    const auth = Buffer.from(`<auth xmlns='${NS.sasl}' mechanism='${MECHANISM}'>${message}</auth>`);
    core.write(auth, 0, auth.length);
  }

  coreChunkEnd(core: CoreStream): void {
    core.flush();
  }

  coreStreamEnd(): void {
    this.#fail("later", "the core closed the stream");
  }

  coreDrained(): void {}

  coreGone(_core: CoreStream, _reason: unknown, detail: string): void {
    this.#core = null;
    this.#fail("later", detail);
  }
}
