import type { TestContext } from "node:test";
import { type LoginOptions, RawClient, type RawClientOptions, type StreamManagement } from "./clients/raw-client.ts";
import { TurnedClock } from "./clock.ts";
import { type EdgeOptions, startEdge, type TestEdge } from "./edge.ts";
import { FakeCore, type FakeCoreScript, type FakeStream } from "./fake-core.ts";

export interface WireOptions extends Partial<FakeCoreScript> {
  /** Further YAML of the edge, at the top level and of its core. */
  config?: string;
  coreConfig?: string;
  /** The core's kind in the edge's configuration. */
  coreKind?: string;
  domains?: readonly string[];
  listenerConfigs?: NonNullable<EdgeOptions["listenerConfigs"]>;
  /** The test turns the clock. */
  turned?: boolean;
  /** The event loop as the edge's turnstile sees it. */
  loop?: NonNullable<EdgeOptions["loop"]>;
  seat?: NonNullable<EdgeOptions["seat"]>;
}

/** A fake core, an edge in front of it, and clients of the plaintext listener: nothing of it outlives the test. */
export class Wire {
  readonly core: FakeCore;
  readonly edge: TestEdge;
  readonly clock: TurnedClock;
  readonly #clients: RawClient[] = [];

  private constructor(core: FakeCore, edge: TestEdge, clock: TurnedClock) {
    this.core = core;
    this.edge = edge;
    this.clock = clock;
  }

  static async start(t: TestContext, options: WireOptions = {}): Promise<Wire> {
    const {
      config,
      coreConfig,
      coreKind = "other",
      domains,
      listenerConfigs,
      turned = false,
      loop,
      seat,
      ...script
    } = options;
    const core = await FakeCore.listen(script);
    t.after(() => core.close());
    const clock = new TurnedClock();
    const edgeOptions: EdgeOptions = { core: { domain: core.domain, port: core.port, kind: coreKind } };
    if (config !== undefined) edgeOptions.config = config;
    if (coreConfig !== undefined) edgeOptions.coreConfig = coreConfig;
    if (domains !== undefined) edgeOptions.domains = domains;
    if (listenerConfigs !== undefined) edgeOptions.listenerConfigs = listenerConfigs;
    if (turned) edgeOptions.clock = clock;
    if (loop !== undefined) edgeOptions.loop = loop;
    if (seat !== undefined) edgeOptions.seat = seat;
    const edge = await startEdge(edgeOptions);
    const wire = new Wire(core, edge, clock);
    t.after(async () => {
      for (const client of wire.#clients) client.drop();
      await core.close();
      // Whoever waits for time to pass does so on the turned clock.
      const turning = setInterval(() => clock.advance({ seconds: 1 }), 5);
      await edge.stop();
      clearInterval(turning);
    });
    core.forget();
    return wire;
  }

  /** A connection without a stream. */
  async connect(options: RawClientOptions = {}): Promise<RawClient> {
    const client = await RawClient.connect({ port: this.edge.plaintext, domain: this.core.domain, ...options });
    this.#clients.push(client);
    return client;
  }

  /** A client with an open stream, before login. */
  async opened(options: RawClientOptions = {}): Promise<{ client: RawClient; core: FakeStream }> {
    const client = await this.connect(options);
    await client.open();
    return { client, core: await this.core.nextStream() };
  }

  /** A client that has logged in and not bound. */
  async authenticated(options: Partial<LoginOptions> = {}): Promise<{ client: RawClient; core: FakeStream }> {
    const { client, core } = await this.opened(options);
    await client.authenticate({ user: "alice", password: "pw", ...options });
    await client.open();
    return { client, core };
  }

  /** A bound client and its stream at the core. */
  async login(options: Partial<LoginOptions> = {}): Promise<{ client: RawClient; core: FakeStream }> {
    const { client, core } = await this.authenticated(options);
    await client.bind(options.resource ?? "phone");
    this.core.bound.items.length = 0;
    return { client, core };
  }

  /** A bound client with stream management. */
  async managed(options: Partial<LoginOptions> & { ns?: string; resume?: boolean } = {}): Promise<Managed> {
    const { client, core } = await this.login(options);
    const { ns, resume } = options;
    await client.enable({ ...(ns === undefined ? {} : { ns }), ...(resume === undefined ? {} : { resume }) });
    return { client, core, sm: client.sm! };
  }

  /** A new link for the session: logs in and asks to resume. What the edge says is the answer. */
  async resume(sm: StreamManagement, options: Partial<LoginOptions> = {}) {
    const { client, core } = await this.authenticated(options);
    const answer = await client.resume(sm);
    return { client, answer, provisional: core };
  }
}

export interface Managed {
  readonly client: RawClient;
  readonly core: FakeStream;
  readonly sm: StreamManagement;
}

/** A machine that others use takes its time: who waits this long waits for something that does not come. */
const PATIENCE_MS = 60_000;

/** Waits for a fact that no message tells. */
export async function until(
  fact: () => boolean | Promise<boolean>,
  what: string,
  patienceMs = PATIENCE_MS,
): Promise<void> {
  const started = performance.now();
  while (!(await fact())) {
    if (performance.now() - started > patienceMs) throw new Error(`patience ended while waiting until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
