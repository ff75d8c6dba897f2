/**
 * What edges share of a session, so that another one can take it over, or its client's next login gets what it has left.
 * The store is touched when a session changes hands or state, never per stanza.
 *
 * Fencing: each claim gets an epoch higher than all before it. Whoever holds the highest epoch owns the session; what
 * an earlier owner still writes is answered `fenced` and changes nothing. An owner that is fenced lets go of its core
 * stream without closing it.
 *
 * Nothing here throws or waits for long: a store that cannot answer in time answers `unavailable`. Such a change may
 * have happened or not, and every change may be repeated: a second time alters nothing (a claim gets a new epoch).
 */
export interface Store {
  /** Makes `owner` the one that may change the session. `record` is how it stood before, null for an unknown one. */
  claim(name: StoredName, owner: string, ttlSeconds: number): Promise<Claim | Unavailable>;
  /** Forgets the session and its stanzas, unless it has a newer owner. */
  release(name: StoredName, epoch: number): Promise<"released" | Fenced | Unavailable>;

  /**
   * Keeps stanzas for a client that is away. They have the numbers `firstSequence`, `firstSequence` + 1 and so on, without
   * gaps from one call to the next; a number that is stored already is not stored again. All of them or none.
   * Only after `stored` may the core be told that they are safe. The session counts as alive for `ttlSeconds`; what is
   * stored stays for the store's `leftover_time` longer.
   */
  append(
    name: StoredName,
    epoch: number,
    firstSequence: number,
    stanzas: readonly Buffer[],
    ttlSeconds: number,
  ): Promise<"stored" | Fenced | "full" | Lost | Unavailable>;
  /** The stanzas from `fromSequence` on, in order, up to `maxBytes` but at least one if there is one. */
  load(
    name: StoredName,
    epoch: number,
    fromSequence: number,
    maxBytes: number,
  ): Promise<Loaded | Fenced | Lost | Unavailable>;
  /**
   * Forgets the stanzas up to `throughSequence`: the client has them. `over`: and nobody will resume the session any
   * more, so that what is left is for any login of the account (`inherit`), and nothing is left of it without.
   */
  trim(
    name: StoredName,
    epoch: number,
    throughSequence: number,
    over?: boolean,
  ): Promise<"trimmed" | Fenced | Lost | Unavailable>;

  /**
   * Claims what sessions of the account have left that are over, for a login of this resource: because their owner said
   * so, or has not refreshed them for their time, or they had the same resource (of which there is one at a time), or the
   * client has shown that it had this one (`shown`). They stay, for this login and the ones after it, until they are
   * trimmed or expire.
   */
  inherit(
    account: string,
    resource: string,
    shown: string | null,
    owner: string,
  ): Promise<readonly Left[] | Unavailable>;
  /** Whether `inherit` would find something, other than of the session `besides`. */
  hasLeft(account: string, resource: string, besides: string): Promise<boolean | Unavailable>;

  /** For /readyz: true, or what is wrong and what to do. Becomes true again by itself. */
  readiness(): true | string;
  close(): void;
}

/** Whose stanzas they are. */
export interface StoredName {
  /** The bare address, as the core bound it. */
  readonly account: string;
  readonly resource: string;
  /** Names one session of the account, and is no secret: not its resume id. */
  readonly session: string;
}

/** Somebody else has claimed the session since. */
export type Fenced = "fenced";
/** The store cannot be asked, or did not answer in time. */
export type Unavailable = "unavailable";
/**
 * The store has forgotten the session or some of its stanzas (it expired, or Redis has lost data): what was stored is not
 * whole any more. A claim begins anew.
 */
export type Lost = "lost";

export interface SessionRecord {
  /** Who had it last. */
  readonly owner: string;
  /** The stanzas that wait in the store: from `first` up to and without `next`. Null when there never were any. */
  readonly stanzas: { readonly first: number; readonly next: number } | null;
}

/** What a session has left: its stanzas from `first` up to and without `next`. */
export interface Left {
  readonly name: StoredName;
  readonly epoch: number;
  readonly first: number;
  readonly next: number;
}

export interface Claim {
  readonly epoch: number;
  readonly record: SessionRecord | null;
}

export interface Loaded {
  /** The number of the first stanza here. */
  readonly first: number;
  readonly stanzas: readonly Buffer[];
  /** Whether there are more behind these. */
  readonly more: boolean;
}
