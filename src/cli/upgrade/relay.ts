import type { SocketHandle } from "../../breakwater.ts";
import type { BeforeChannel, HeirChannel } from "./channel.ts";
import type { NewWord, OldWord } from "./messages.ts";

/** The process that takes a worker's place, by way of the supervisor, which has started it or reaches the one that has. */
export class RelayHeir implements HeirChannel {
  readonly pid = undefined;
  readonly gone: Promise<string>;
  onWord: (word: NewWord) => void = () => {};
  readonly send: HeirChannel["send"];
  readonly kill: () => void;
  readonly #end: (why: string) => void;

  /** `kill`: tells the supervisor that it is of no use. */
  constructor(send: HeirChannel["send"], kill: () => void) {
    this.send = send;
    this.kill = kill;
    const { promise, resolve } = Promise.withResolvers<string>();
    this.gone = promise;
    this.#end = resolve;
  }

  /** The supervisor has seen it end. */
  ended(why: string): void {
    this.#end(why);
  }

  release(): void {}
}

/** The worker whose place this one takes, by the same way. */
export class RelayBefore implements BeforeChannel {
  isOpen = true;
  onWord: (word: OldWord, socket: SocketHandle | null) => void = (_, socket) => socket?.close();
  onGone: () => void = () => {};
  readonly #send: (word: NewWord) => Promise<void>;

  constructor(send: (word: NewWord) => Promise<void>) {
    this.#send = send;
  }

  /** The supervisor has seen it end. */
  ended(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.onGone();
  }

  send(word: NewWord): Promise<void> {
    return this.isOpen ? this.#send(word) : Promise.resolve();
  }
}
