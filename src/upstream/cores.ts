import type { Clock, Timer } from "../base/clock.ts";
import { BreakwaterError } from "../base/errors.ts";
import type { Janitor } from "../base/janitor.ts";
import type { Log } from "../base/log.ts";
import { meter } from "../base/meter.ts";
import type { SocketHandle } from "../base/socket-handle.ts";
import type {
  Attachee,
  Attachment,
  AttachOwner,
  CoreEstate,
  CoreOwner,
  CoreStream,
  Cores as CoresPort,
  CoreTraits,
  Link,
  ReattachTerms,
} from "../session/ports.ts";
import { framerLimitsOf } from "../xmpp/options.ts";
import { C2sCore } from "./c2s-core.ts";
import { CoreApi } from "./core-api.ts";
import { Dialer, type Dialing, Redialed } from "./dial.ts";
import type { CoreOptions, ReattachOptions } from "./options.ts";
import { type ProbeResult, probe } from "./probe.ts";
import { ownProxyHeader, proxyHeader } from "./proxy-header.ts";
import { traitsOf } from "./quirks.ts";
import { TokenLogin } from "./token-login.ts";

const health = meter.gauge("breakwater_core_up", "Whether the core answered when it was last asked (1) or not (0)", [
  "core",
]);
const probes = meter.counter("breakwater_core_probes_total", "Probes of cores, by result", ["core", "result"]);

/** Which core serves which domain (a `domainKey`). */
export interface CoresPlan {
  readonly cores: readonly CoreOptions[];
  readonly domains: readonly { readonly name: string; readonly core: string }[];
}

export interface CoresHost {
  readonly clock: Clock;
  readonly janitor: Janitor;
  readonly log: Log;
}

interface Core {
  readonly options: CoreOptions;
  readonly dialer: Dialer;
  readonly traits: CoreTraits;
  readonly domains: readonly string[];
  /** Where its sessions can be attached without their clients. */
  readonly api: CoreApi | null;
  readonly reattach: ReattachTerms | null;
  /** When a client's stream last told how the core is, and what it told. */
  seenAt: number;
  trouble: string | null;
}

/**
 * The cores behind the edge: opens streams to them, and knows how they are. A reload puts a new plan in place; streams
 * that are open stay as they are.
 */
export class Cores implements CoresPort {
  readonly #host: CoresHost;
  #byDomain = new Map<string, Core>();
  #cores: readonly Core[] = [];
  #timers: Timer[] = [];

  constructor(host: CoresHost) {
    this.#host = host;
  }

  /**
   * Probes every core and takes the plan into use. Throws BreakwaterError("BW_CORE_UNFIT") and changes nothing when a
   * core is set up so that clients cannot be served; a core that cannot be reached is only logged and asked again.
   */
  async use(plan: CoresPlan): Promise<void> {
    const cores = plan.cores.map((options) => this.#prepare(options, plan));
    const results = await Promise.all(cores.map((core) => this.#probeAll(core)));
    const mistakes = results.flatMap((result, i) =>
      result.state === "unfit"
        ? result.mistakes.map((text) => `core "${cores[i]!.options.name}" (${cores[i]!.dialer.place}): ${text}`)
        : [],
    );
    if (mistakes.length > 0) throw new BreakwaterError("BW_CORE_UNFIT", mistakes.join("\n"));
    for (const [i, result] of results.entries()) this.#note(cores[i]!, result, true);
    this.stop();
    this.#cores = cores;
    this.#byDomain = new Map(cores.flatMap((core) => core.domains.map((domain) => [domain, core] as const)));
    this.#timers = cores.map((core) =>
      this.#host.clock.every(core.options.probe_interval * 1000, () => void this.#probeQuiet(core)),
    );
  }

  open(domain: string, client: Link, owner: CoreOwner): CoreStream | null {
    const core = this.#byDomain.get(domain);
    if (core === undefined) return null;
    const version = core.options.proxy_protocol;
    const header = version === "off" ? null : proxyHeader(version, client.client, client.server);
    return this.#dial(core, core.dialer, owner, header);
  }

  knows(name: string): boolean {
    return this.#named(name) !== undefined;
  }

  adopt(estate: CoreEstate, handle: SocketHandle): CoreStream | null {
    const core = this.#named(estate.core);
    if (core === undefined) return null;
    const stream = this.#dial(core, new Redialed(handle), null, null);
    stream.adopt(estate);
    return stream;
  }

  nameOf(domain: string): string | null {
    return this.#byDomain.get(domain)?.options.name ?? null;
  }

  loginRate(coreName: string): number {
    return this.#named(coreName)?.options.login_rate ?? Number.POSITIVE_INFINITY;
  }

  reattachTerms(coreName: string): ReattachTerms | null {
    return this.#named(coreName)?.reattach ?? null;
  }

  attach(coreName: string, who: Attachee, owner: AttachOwner): Attachment {
    const core = this.#named(coreName);
    if (core === undefined || core.api === null) {
      const timer = this.#host.clock.after(0, () =>
        owner.attachFailed("refused", "the core has no `reattach` any more"),
      );
      return { cancel: () => timer.cancel() };
    }
    const { connect_timeout, proxy_protocol: version, reattach } = core.options;
    const header = version === "off" ? null : proxyHeader(version, who.client, who.server);
    return new TokenLogin({
      clock: this.#host.clock,
      api: core.api,
      who,
      owner,
      timeoutMs: (connect_timeout + 3 * reattach!.timeout) * 1000,
      dial: (streamOwner) => this.#dial(core, core.dialer, streamOwner, header),
    });
  }

  #named(name: string): Core | undefined {
    return this.#cores.find((core) => core.options.name === name);
  }

  /** For readiness: true, or which cores are not well. */
  readiness(): true | string {
    const down = this.#cores.filter((core) => core.trouble !== null);
    if (down.length === 0) return true;
    return down.map((core) => `core "${core.options.name}" (${core.dialer.place}): ${core.trouble}`).join("; ");
  }

  stop(): void {
    for (const core of this.#cores) core.api?.close();
    for (const timer of this.#timers) timer.cancel();
    this.#timers = [];
  }

  #prepare(options: CoreOptions, plan: CoresPlan): Core {
    const domains = plan.domains.filter((domain) => domain.core === options.name).map((domain) => domain.name);
    const { name, reattach } = options;
    return {
      options,
      dialer: new Dialer(options),
      traits: traitsOf(options),
      domains,
      api: reattach === undefined ? null : new CoreApi(name, reattach),
      reattach: reattach === undefined ? null : termsOf(reattach),
      seenAt: 0,
      trouble: null,
    };
  }

  #dial(core: Core, dialing: Dialing, owner: CoreOwner | null, header: Buffer | null): C2sCore {
    const { options } = core;
    return new C2sCore(
      dialing,
      {
        name: options.name,
        traits: core.traits,
        limits: framerLimitsOf(options.limits),
        connectTimeoutMs: options.connect_timeout * 1000,
        owner,
        proxyHeader: header,
        connected: (ok, detail) => this.#connected(core, ok, detail),
      },
      this.#host,
    );
  }

  async #probeAll(core: Core): Promise<ProbeResult> {
    for (const domain of core.domains) {
      const result = await this.#probe(core, domain);
      if (result.state !== "well") return result;
    }
    return { state: "well", mechanisms: [] };
  }

  async #probe(core: Core, domain: string): Promise<ProbeResult> {
    const version = core.options.proxy_protocol;
    const header = version === "off" ? null : ownProxyHeader(version, {});
    const result = await probe(core.options, domain, this.#host.clock, (owner) =>
      this.#dial(core, core.dialer, owner, header),
    );
    probes.inc(core.options.name, result.state);
    return result;
  }

  async #probeQuiet(core: Core): Promise<void> {
    const quietFor = this.#host.clock.now() - core.seenAt;
    if (core.trouble === null && quietFor < core.options.probe_interval * 1000) return;
    this.#note(core, await this.#probeAll(core), false);
  }

  #connected(core: Core, ok: boolean, detail: string): void {
    core.seenAt = this.#host.clock.now();
    if (!ok) this.#mark(core, `cannot be reached (${detail})`);
  }

  #note(core: Core, result: ProbeResult, first: boolean): void {
    if (result.state === "well") this.#mark(core, null, first);
    else if (result.state === "down") this.#mark(core, `cannot be reached (${result.detail})`, first);
    else this.#mark(core, result.mistakes.join("; "), first);
  }

  #mark(core: Core, trouble: string | null, first = false): void {
    health.set(trouble === null ? 1 : 0, core.options.name);
    const before = core.trouble;
    core.trouble = trouble;
    const facts = { core: core.options.name, place: core.dialer.place };
    if (trouble === null && (before !== null || first)) this.#host.log.info("core is well", facts);
    if (trouble !== null && before === null) {
      this.#host.log.warn("core is not well: is it running, and does it listen there?", { ...facts, trouble });
    }
  }
}

function termsOf({ max_bytes, max_stanzas, wait, max_concurrent }: ReattachOptions): ReattachTerms {
  return { maxBytes: max_bytes, maxStanzas: max_stanzas, waitSeconds: wait, maxConcurrent: max_concurrent };
}
