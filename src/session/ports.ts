import type { CloseReason } from "../base/close-reasons.ts";
import type { SocketHandle } from "../base/socket-handle.ts";
import type { Frame } from "../xmpp/frame.ts";
import type { FramerLimits } from "../xmpp/framer.ts";
import type { FramingError } from "../xmpp/framing-error.ts";
import type { Jid } from "../xmpp/jid.ts";

/**
 * The client's leg, whatever the transport. `edge/` implements it; negotiation and session own it, one after the other.
 *
 * Reading: the link frames what arrives and hands it to `owner`, one call per frame, then `linkChunkEnd` once per chunk
 * (the owner flushes both legs there). Writing: `write` takes what the stream is made of, one piece per call, and `flush`
 * sends all of it as one socket write.
 */
export interface Link {
  /** Grows with each accepted connection of this process: of two links the greater one is the newer. */
  readonly id: number;
  readonly transport: "tcp" | "websocket" | "bosh";
  /** The client's true address: from the PROXY header when a trusted balancer sent one. */
  readonly client: Endpoint;
  /** The address that the client reached. */
  readonly server: Endpoint;
  /** Encrypted, or declared trusted by its listener. */
  readonly secure: boolean;
  /** The name that the client asked for in TLS (SNI), null without TLS or without SNI. */
  readonly servername: string | null;
  /** Who gets the frames. Null: nothing is read any more (fenced). */
  owner: LinkOwner | null;
  /** `performance.now()` of the last byte that came from the client, whitespace included. */
  readonly heardAt: number;
  /** The same for the last byte that was written to it. */
  readonly wroteAt: number;
  /** Bytes that the client's socket has not taken yet. */
  readonly pendingBytes: number;
  /** All bytes that were ever written to it, as it carries them. */
  readonly writtenBytes: number;
  /**
   * How far of `writtenBytes` the client has it, where the transport tells (BOSH); else how far the kernel took it. Never
   * less than before. Of a link that has ended: how far that was seen.
   */
  readonly takenBytes: number;

  setLimits(limits: FramerLimits): void;
  /** The next bytes begin a new stream (RFC 6120 §4.3.3, after STARTTLS and SASL). */
  restartStream(): void;
  /**
   * Writes `proceed` and turns TLS on (RFC 6120 §5.4.3.3); a new stream begins inside. `wait`: many do so just now, and the
   * owner hears `linkTurn` or `linkNotSecured`. `pipelined`, and nothing is done: bytes came behind `<starttls/>`, which must
   * never count as encrypted.
   */
  startTls(proceed: Buffer): "now" | "wait" | "pipelined";
  /**
   * One whole piece of the stream per call: the XML declaration, the opening tag, one complete first-level element or the
   * closing tag. Links that carry messages need them apart (RFC 7395 §3.3). Written as for TCP: what the opening tag
   * declares is not declared again. Borrows `bytes[start, end)` until the next `flush`, and nothing leaves before it.
   */
  write(bytes: Buffer, start: number, end: number): void;
  flush(): void;
  /** Makes routers on the way see traffic, at once and without a word of XMPP. */
  keepAlive(): void;
  /** Stops reading until `resume`: the core does not keep up. */
  pause(): void;
  resume(): void;
  /** From now on nothing of this link is parsed and its owner hears nothing. Writing still works. */
  fence(): void;
  /** Flushes, closes the transport in its polite way, and gives up on the peer after a few seconds. The owner hears nothing more. */
  end(): void;
  /** Drops the transport at once. The owner hears nothing more. */
  drop(): void;
  /**
   * What is not taken is not to reach the client on this link any more, because it comes on another one. Drops the
   * transport where that cannot be helped.
   */
  recall(): void;
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** What negotiation and session hear from a link. */
export interface LinkOwner {
  linkHeader(link: Link, header: Frame): void;
  linkFrame(link: Link, frame: Frame): void;
  /** `</stream:stream>` came. */
  linkStreamEnd(link: Link): void;
  /** All frames of one chunk were handed over: flush. */
  linkChunkEnd(link: Link): void;
  /** The transport took all that was written. */
  linkDrained(link: Link): void;
  /** Behind `startTls`: the handshake begins now, after a wait. */
  linkTurn?(link: Link): void;
  /** Behind `startTls`: there will be no handshake. The owner answers, in plain text, and ends the link. */
  linkNotSecured?(link: Link, reason: CloseReason): void;
  /** The client sent what no stream may hold. The owner answers and ends the link. */
  linkRefused(link: Link, error: FramingError): void;
  /** The transport is gone; the link is closed already. */
  linkLost(link: Link, reason: CloseReason): void;
}

/** A core stream as plain data: beside its socket all that another process needs to go on with it. */
export interface CoreEstate {
  /** The name of the core in the configuration. */
  readonly core: string;
  /** An opening tag that declares what the core's did, and what came behind the last whole frame. */
  readonly header: Buffer;
  readonly unread: Buffer;
}

/** One client's stream to its core. `upstream/` implements it. Writing is as on a link. */
export interface CoreStream {
  /** The name of the core in the configuration. */
  readonly coreName: string;
  readonly traits: CoreTraits;
  owner: CoreOwner | null;
  readonly pendingBytes: number;
  /** Its socket, where another process can have it: not with TLS, whose state is this process's. */
  readonly handle: SocketHandle | null;
  restartStream(): void;
  write(bytes: Buffer, start: number, end: number): void;
  flush(): void;
  pause(): void;
  resume(): void;
  /** Of a paused stream whose bytes have all left: what goes with its `handle`. */
  estate(): CoreEstate;
  /** `</stream:stream>`, then the end of the transport: a core with XEP-0198 ends the session at once. */
  end(): void;
  /** Drops the transport without a word: a core with XEP-0198 keeps the session. The owner hears nothing more. */
  drop(): void;
}

export interface CoreOwner {
  /** The core's transport is up; the client's stream header may be sent. */
  coreConnected(core: CoreStream): void;
  coreHeader(core: CoreStream, header: Frame): void;
  coreFrame(core: CoreStream, frame: Frame): void;
  coreStreamEnd(core: CoreStream): void;
  coreChunkEnd(core: CoreStream): void;
  coreDrained(core: CoreStream): void;
  /** The transport is gone, could not be had, or the core sent what is not XML. */
  coreGone(core: CoreStream, reason: CloseReason, detail: string): void;
}

/** What differs between cores, as data (upstream/quirks). */
export interface CoreTraits {
  /** Stanzas a core keeps unacknowledged before it ends or empties a session; the edge stays below. */
  readonly maxUnacked: number;
  /** And for how long, in seconds. */
  readonly maxUnackedSeconds: number;
  /** Whether a core at its limit ends the session ("ends") or goes on and can no longer resume it ("forgets"). */
  readonly pastMaxUnacked: "ends" | "forgets";
  /** Only these SASL mechanisms pass, null for the core's list unedited. */
  readonly mechanisms: readonly string[] | null;
}

/** Opens streams to the core that serves a domain. */
export interface Cores {
  /** Null when no core serves `domain` (a `domainKey`). The stream calls `owner` back, never before `open` has returned. */
  open(domain: string, client: Link, owner: CoreOwner): CoreStream | null;
  /** The name of the core that serves `domain`; null: there is none. */
  nameOf(domain: string): string | null;
  /** Logins a second that the core stands. */
  loginRate(coreName: string): number;
  /** On which terms the sessions of this core are attached to it again without their clients; null: they are not. */
  reattachTerms(coreName: string): ReattachTerms | null;
  /** Logs an account in on a fresh stream, without its client. `owner` is called once, never before this has returned. */
  attach(coreName: string, who: Attachee, owner: AttachOwner): Attachment;
  /** Whether a core has this name. */
  knows(core: string): boolean;
  /** Goes on with a stream of the process before this one; null when no core has its name. The same for calling back. */
  adopt(estate: CoreEstate, handle: SocketHandle): CoreStream | null;
}

export interface ReattachTerms {
  /** What may wait of one client's stanzas: bytes and stanzas. */
  readonly maxBytes: number;
  readonly maxStanzas: number;
  /** How long a client stays connected without its core. */
  readonly waitSeconds: number;
  /** Attempts at a time. */
  readonly maxConcurrent: number;
}

/** Whose session is to be attached. */
export interface Attachee {
  readonly jid: Jid;
  /** The opening tag of its client. */
  readonly opening: Buffer;
  /** What a PROXY header says. */
  readonly client: Endpoint;
  readonly server: Endpoint;
  /** For how long the session has been on its last stream, in ms: one that the core saw begin later is another's by now. */
  readonly ageMs: number;
}

export interface Attachment {
  /** The owner hears nothing more. */
  cancel(): void;
}

export interface AttachOwner {
  /** Logged in; nothing is bound. The stream's owner is to be set at once. */
  attached(core: CoreStream): void;
  attachFailed(how: AttachFailure, detail: string): void;
}

/**
 * `later`: the core, or its API, is not well. `lost`: the core has no such session any more. `elsewhere`: another edge has
 * it. `refused`: the core does not let the edge in for this account.
 */
export type AttachFailure = "later" | "lost" | "elsewhere" | "refused";

/** The close reason for input that no stream may hold. */
export function closeReasonOf(error: FramingError): CloseReason {
  return error.condition === "policy-violation" ? "limit-exceeded" : error.condition;
}
