// What becomes of a rush of impatient clients, in a model: no socket, no clock, the same on every machine.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Janitor } from "../../src/base/janitor.ts";
import { silentLog } from "../../src/base/log.ts";
import { type Loop, type Place, Turnstile } from "../../src/edge/turnstile.ts";
import { TurnedClock } from "../support/clock.ts";

/** CPU, ms, as measured: 6.2 for a return, 2.6 of them also for a client that is gone. A login has pieces with the network between. */
const ACCEPT_MS = 0.2;
const HANDSHAKE_MS = 2.4;
const LOGIN_PIECES = 3;
const PIECE_MS = 1.2;
const NETWORK_MS = 50;
/** The edge has a tenth of a CPU. */
const SHARE = 0.1;
const BACKLOG = 1024;
/** Whom the kernel has no room for asks again, after twice as long each time. */
const ASK_AGAIN_MS = 1000;
const CLIENTS = 1500;
const PATIENCE_MS = 15_000;
const MINUTES = 4;
const LOOK_MS = 100;

/** A try of a client to come in. */
interface Try {
  readonly client: number;
  readonly givesUpAt: number;
  pieces: number;
}

/** An edge with a turnstile, or none, a kernel in front of it, and clients that give up and come again. */
class Rush implements Loop {
  readonly #clock = new TurnedClock();
  readonly #turnstile: Turnstile | null;
  readonly #backAt = new Map<number, number>();
  #asking: { readonly one: Try; readonly at: number; readonly pause: number }[] = [];
  /** In the kernel, in order. */
  readonly #backlog: Try[] = [];
  /** Their next piece of the login is due then. */
  readonly #inside: { readonly one: Try; dueAt: number }[] = [];
  readonly #outside: { readonly one: Try; readonly place: Place }[] = [];
  #returning: { readonly client: number; readonly at: number; readonly pause: number }[] = [];
  #nextLookAt = 0;
  #cpu = 0;
  #due: (() => void) | null = null;
  handshakes = 0;

  constructor(withTurnstile: boolean) {
    const clock = this.#clock;
    this.#turnstile = withTurnstile
      ? new Turnstile({
          ...{ clock, loop: this, janitor: new Janitor(clock), log: silentLog },
          longestWaitMs: () => 30_000,
          crowded: () => false,
        })
      : null;
    const now = clock.now();
    for (let client = 0; client < CLIENTS; client++) this.#returning.push({ client, at: now, pause: 500 });
  }

  get back(): number {
    return this.#backAt.size;
  }

  cpu(): number {
    return this.#cpu;
  }

  endOfTurn(run: () => void): void {
    this.#due = run;
  }

  afterThis(run: () => void): void {
    run();
  }

  run(): void {
    const until = this.#clock.now() + MINUTES * 60_000;
    while (this.#clock.now() < until && this.back < CLIENTS) this.#turn();
  }

  #turn(): void {
    const cpu = this.#cpu;
    if (this.#clock.now() >= this.#nextLookAt) this.#look();
    this.#accept();
    const now = this.#clock.now();
    for (const each of this.#inside.filter(({ dueAt }) => dueAt <= now)) this.#goOn(each);
    const due = this.#due;
    this.#due = null;
    due?.();
    const spent = this.#cpu - cpu;
    this.#clock.advance({ ms: Math.max(spent / SHARE, 1) });
  }

  // A crowd is looked through now and then only: each look costs the test something.
  #look(): void {
    this.#nextLookAt = this.#clock.now() + LOOK_MS;
    this.#come();
    this.#ask();
    for (const outside of this.#outside.filter(({ one }) => this.#hasGivenUp(one))) {
      this.#turnstile!.leave(outside.place);
      this.#outside.splice(this.#outside.indexOf(outside), 1);
    }
  }

  #come(): void {
    const now = this.#clock.now();
    const coming = this.#returning.filter(({ at }) => at <= now);
    this.#returning = this.#returning.filter(({ at }) => at > now);
    for (const { client, pause } of coming) {
      // It does not know how far it has come: it looks at its own watch.
      const givesUpAt = now + PATIENCE_MS;
      this.#asking.push({ one: { client, givesUpAt, pieces: LOGIN_PIECES }, at: now, pause: ASK_AGAIN_MS });
      this.#returning.push({
        client,
        at: givesUpAt + pause * (0.5 + (client % 100) / 100),
        pause: Math.min(pause * 2, 8000),
      });
    }
  }

  #ask(): void {
    const now = this.#clock.now();
    const asking = this.#asking.filter(({ at }) => at <= now);
    this.#asking = this.#asking.filter(({ at }) => at > now);
    for (const { one, pause } of asking) {
      if (this.#hasGivenUp(one)) continue;
      if (this.#backlog.length < BACKLOG) this.#backlog.push(one);
      else this.#asking.push({ one, at: now + pause, pause: pause * 2 });
    }
  }

  // One in each turn of the loop, as libuv does it; the kernel does not tell whether they are still there.
  #accept(): void {
    const one = this.#backlog.shift();
    if (one === undefined) return;
    this.#cpu += ACCEPT_MS;
    if (this.#turnstile === null) return this.#shakeHands(one);
    this.#turnstile.arrived();
    if (this.#turnstile.passes(true)) return this.#shakeHands(one);
    const outside = {
      one,
      place: this.#turnstile.wait(
        {
          logsIn: true,
          goIn: () => {
            this.#outside.splice(this.#outside.indexOf(outside), 1);
            this.#shakeHands(one);
          },
          turnAway: () => void this.#outside.splice(this.#outside.indexOf(outside), 1),
        },
        false,
      ),
    };
    this.#outside.push(outside);
  }

  #hasGivenUp({ givesUpAt }: Try): boolean {
    return givesUpAt <= this.#clock.now();
  }

  #shakeHands(one: Try): void {
    this.handshakes++;
    this.#cpu += HANDSHAKE_MS;
    this.#inside.push({ one, dueAt: this.#clock.now() + NETWORK_MS });
  }

  #goOn(each: { readonly one: Try; dueAt: number }): void {
    const { one } = each;
    if (!this.#hasGivenUp(one)) {
      this.#cpu += PIECE_MS;
      each.dueAt = this.#clock.now() + NETWORK_MS;
      if (--one.pieces > 0) return;
      this.#backAt.set(one.client, this.#clock.now());
      this.#returning = this.#returning.filter(({ client }) => client !== one.client);
    }
    this.#inside.splice(this.#inside.indexOf(each), 1);
  }
}

test("1,500 impatient clients at an edge with a tenth of a CPU are all back, with hardly a handshake too many", () => {
  const rush = new Rush(true);
  rush.run();
  assert.equal(rush.back, CLIENTS);
  assert.ok(rush.handshakes < 1.1 * CLIENTS, `${rush.handshakes} handshakes`);
});

test("without the turnstile most of them never are: the edge shakes hands with those who have given up", () => {
  const rush = new Rush(false);
  rush.run();
  assert.ok(rush.back < CLIENTS / 2, `${rush.back} are back`);
  assert.ok(rush.handshakes > 2 * rush.back, `${rush.handshakes} handshakes`);
});
