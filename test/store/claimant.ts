import type { Store } from "../../src/session/stanza-store.ts";
import { granted, named, stanza } from "./support.ts";

/** What went wrong on the way of a claimant: it died after so many answers, or one answer of the store did not arrive. */
export type Fault = { readonly kind: "crash" | "lost answer"; readonly at: number } | null;

/** How many operations a claimant wants to do. A lost answer makes one more. */
export const STEPS = 5;

/** What all claimants of one session have been promised, and may rely on afterwards. */
export class World {
  readonly id: string;
  highestEpoch = 0;
  /** The last stanza of which somebody heard that it is stored. */
  storedThrough = 0;
  /** The last stanza that somebody has loaded, and let the store forget. */
  trimmedThrough = 0;
  readonly wrong: string[] = [];

  constructor(id: string) {
    this.id = id;
  }

  /** A change may succeed for the owner of the highest epoch, and only for it. */
  judge(who: string, epoch: number, what: string, answer: string): void {
    const expected = epoch === this.highestEpoch ? what : "fenced";
    if (answer !== expected)
      this.wrong.push(`${who} (epoch ${epoch} of ${this.highestEpoch}): ${answer}, not ${expected}`);
  }
}

/** An edge that takes the session over and keeps three more stanzas of the core. Each step is one operation. */
export class Claimant {
  readonly name: string;
  readonly #world: World;
  readonly #store: Store;
  readonly #fault: Fault;
  #step = 0;
  #answers = 0;
  #epoch = 0;
  #next = 1;
  #done = false;

  constructor(name: string, world: World, store: Store, fault: Fault) {
    this.name = name;
    this.#world = world;
    this.#store = store;
    this.#fault = fault;
  }

  get done(): boolean {
    return this.#done || this.#step === STEPS || (this.#fault?.kind === "crash" && this.#answers === this.#fault.at);
  }

  async step(): Promise<void> {
    const heard = !(this.#fault?.kind === "lost answer" && this.#answers === this.#fault.at);
    this.#answers++;
    await this.#operation(heard);
    if (heard) this.#step++; // else the same again
  }

  async #operation(heard: boolean): Promise<void> {
    if (this.#step === 0) await this.#claim(heard);
    else if (this.#step === 1) await this.#refresh();
    else if (this.#step === 2) await this.#append(2, heard);
    else if (this.#step === 3) await this.#append(1, heard);
    else await this.#trim();
  }

  async #claim(heard: boolean): Promise<void> {
    const { epoch, record } = granted(await this.#store.claim(named(this.#world.id), this.name, 60));
    if (epoch <= this.#world.highestEpoch) this.#world.wrong.push(`${this.name} got the epoch of an earlier claim`);
    this.#world.highestEpoch = epoch;
    if (!heard) return;
    this.#epoch = epoch;
    this.#next = record?.stanzas?.next ?? 1;
  }

  async #refresh(): Promise<void> {
    this.#heard("stored", await this.#store.append(named(this.#world.id), this.#epoch, this.#next, [], 60));
  }

  async #append(count: number, heard: boolean): Promise<void> {
    const batch = Array.from({ length: count }, (_, i) => stanza(this.#next + i));
    const answer = await this.#store.append(named(this.#world.id), this.#epoch, this.#next, batch, 60);
    this.#heard("stored", answer);
    if (!heard || answer !== "stored") return;
    this.#next += count;
    this.#world.storedThrough = Math.max(this.#world.storedThrough, this.#next - 1);
  }

  // The client has had the oldest stanza.
  async #trim(): Promise<void> {
    const through = this.#world.trimmedThrough + 1;
    const answer = await this.#store.trim(named(this.#world.id), this.#epoch, through);
    this.#heard("trimmed", answer);
    if (answer === "trimmed") this.#world.trimmedThrough = through;
  }

  #heard(what: string, answer: string): void {
    this.#world.judge(this.name, this.#epoch, what, answer);
    if (answer === "fenced") this.#done = true; // it lets go
  }
}
