import type { Socket } from "node:net";
import type { AtTheTurnstile, Place, Turnstile } from "./turnstile.ts";

/** More than a ClientHello has. Who sends more is read no further, and whether it is still there is not known. */
const MOST_BYTES = 16 * 1024;

// Handlers are shared by all who wait.
const PORCH = Symbol("porch");
type PorchSocket = Socket & { [PORCH]?: Porch | null };

/**
 * A connection that waits for its turn to shake hands. It is read, and what it says is kept and put back: so its end is
 * noticed, and a client that has given up costs nothing. One that says nothing waits for no turn.
 */
export class Porch implements AtTheTurnstile {
  readonly logsIn: boolean;
  readonly #socket: PorchSocket;
  readonly #turnstile: Turnstile;
  readonly #enter: () => void;
  readonly #place: Place;
  readonly #said: Buffer[] = [];
  #bytes = 0;

  /** `enter` gets the connection as it came, paused. It is closed when it is not to come in. */
  constructor(socket: Socket, logsIn: boolean, turnstile: Turnstile, enter: () => void) {
    this.logsIn = logsIn;
    this.#socket = socket;
    this.#turnstile = turnstile;
    this.#enter = enter;
    this.#place = turnstile.wait(this, true);
    this.#socket[PORCH] = this;
    socket.on("data", onData);
    socket.on("end", onGone);
    socket.on("close", onGone);
    socket.on("error", ignore);
    socket.resume();
  }

  heard(chunk: Buffer): void {
    this.#said.push(chunk);
    this.#bytes += chunk.length;
    if (this.#said.length === 1) this.#turnstile.ready(this.#place);
    if (this.#bytes > MOST_BYTES) this.#socket.pause();
  }

  gone(): void {
    this.#close();
    this.#turnstile.leave(this.#place);
    this.#socket.destroy();
  }

  goIn(): void {
    this.#close();
    const socket = this.#socket;
    socket.pause();
    socket.unshift(this.#said.length === 1 ? this.#said[0]! : Buffer.concat(this.#said));
    this.#enter();
  }

  // Without a word: none of TLS would tell the client more than that it may come again.
  turnAway(): void {
    this.#close();
    this.#socket.destroy();
  }

  #close(): void {
    const socket = this.#socket;
    socket[PORCH] = null;
    socket.off("data", onData);
    socket.off("end", onGone);
    socket.off("close", onGone);
  }
}

function onData(this: PorchSocket, chunk: Buffer): void {
  this[PORCH]?.heard(chunk);
}

function onGone(this: PorchSocket): void {
  this[PORCH]?.gone();
}

function ignore(): void {}
