import type { CoreOwner, CoreStream, CoreTraits } from "../../session/ports.ts";

/**
 * Stands where the core stream was while a session waits for another one. Takes everything and keeps nothing: stanzas are
 * kept elsewhere, and what else is said to a core is said again or has lost its meaning.
 */
export class ParkedCore implements CoreStream {
  readonly coreName: string;
  readonly traits: CoreTraits;
  owner: CoreOwner | null = null;
  readonly pendingBytes = 0;
  readonly handle = null;

  constructor({ coreName, traits }: CoreStream) {
    this.coreName = coreName;
    this.traits = traits;
  }

  estate(): never {
    throw new Error("there is no stream");
  }
  restartStream(): void {}
  write(): void {}
  flush(): void {}
  pause(): void {}
  resume(): void {}
  end(): void {}
  drop(): void {
    this.owner = null;
  }
}
