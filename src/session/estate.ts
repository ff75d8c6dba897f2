import type { SocketHandle } from "../base/socket-handle.ts";
import type { Jid } from "../xmpp/jid.ts";
import type { Host } from "./host.ts";
import type { CoreFeatures } from "./offer.ts";
import type { CoreEstate } from "./ports.ts";
import { Session } from "./session.ts";

/** Changes whenever a process could misread what another one says of its sessions. */
export const ESTATE_FORMAT = 1;

/** A dormant session as plain data: beside its core's socket all that another process needs to go on with it. */
export interface SessionEstate {
  readonly id: string;
  readonly jid: Jid;
  readonly coreFeatures: CoreFeatures;
  readonly opening: Buffer | null;
  readonly keptByCore: boolean;
  readonly portable: boolean;
  readonly identified: boolean;
  readonly holdSeconds: number;
  /** How long it still waits for its client. */
  readonly remainingMs: number;
  readonly stanzasFromCore: number;
  readonly stanzasToCore: number;
  readonly injectedToCore: readonly number[] | null;
  readonly sentAgain: number;
  readonly core: CoreEstate;
  /** What the parts know, by their names. */
  readonly parts: Readonly<Record<string, unknown>>;
}

/** Of a session in phase leaving. Null when a part of it cannot go on elsewhere. */
export function estateOf(session: Session): SessionEstate | null {
  const parts: Record<string, unknown> = {};
  for (const { name, estate } of session.parts) {
    if (name === undefined) continue;
    if (estate === null) return null;
    parts[name] = estate;
  }
  const { id, jid, coreFeatures, opening, keptByCore, portable, identified, holdSeconds, remainingMs } = session;
  const { stanzasFromCore, stanzasToCore, injectedToCore, sentAgain } = session;
  return {
    ...{ id, jid, coreFeatures, opening, keptByCore, portable, identified, holdSeconds, remainingMs },
    ...{ stanzasFromCore, stanzasToCore, injectedToCore, sentAgain },
    core: session.core.estate(),
    parts,
  };
}

/** Whether this process can go on with the session: it has its core, and every part that knows something of it. */
export function mayRestore(estate: SessionEstate, host: Host): boolean {
  const names = new Set(host.features.map(({ name }) => name));
  return host.cores.knows(estate.core.core) && Object.keys(estate.parts).every((name) => names.has(name));
}

/** Goes on with a session of another process, which has stopped to read its core. Null: it is not for this process. */
export function restoreSession(estate: SessionEstate, handle: SocketHandle, host: Host): Session | null {
  const core = host.cores.adopt(estate.core, handle);
  if (core === null) return null;
  const { id, jid, coreFeatures } = estate;
  // A copy: the estate's bytes are one buffer with all that it says.
  const opening = estate.opening === null ? null : Buffer.copyBytesFrom(estate.opening);
  const session = new Session({ id, jid, link: null, core, coreFeatures, opening, host });
  core.owner = session;
  session.keptByCore = estate.keptByCore;
  session.portable = estate.portable;
  session.identified = estate.identified;
  session.holdSeconds = estate.holdSeconds;
  session.remainingMs = estate.remainingMs;
  session.stanzasFromCore = estate.stanzasFromCore;
  session.stanzasToCore = estate.stanzasToCore;
  session.injectedToCore = estate.injectedToCore === null ? null : [...estate.injectedToCore];
  session.sentAgain = estate.sentAgain;
  for (const part of session.parts) if (part.name !== undefined) part.restore?.(estate.parts[part.name]);
  return session;
}
