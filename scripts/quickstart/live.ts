const PHASES = ["connecting", "authenticating", "active", "inactive", "dormant", "resuming", "draining"];
const TICK_MS = 1000;
/** Where lines cannot be rewritten, so long is waited between two. */
const PLAIN_MS = 5_000;

/**
 * One line about what goes on at all edges together, read from their /metrics: rewritten in place on a terminal, else now
 * and then when it changed.
 */
export class LiveLine {
  readonly #edges: readonly EdgeFigures[];
  readonly #terminal = process.stdout.isTTY === true;
  #timer: NodeJS.Timeout;
  #stanzas: number | null = null;
  #readAt = 0;
  #shown = "";
  #shownAt = Number.NEGATIVE_INFINITY;

  constructor(metricsUrls: readonly string[]) {
    this.#edges = metricsUrls.map((url) => new EdgeFigures(url));
    this.#timer = setInterval(() => void this.#tick(), TICK_MS);
    void this.#tick();
  }

  stop(): void {
    clearInterval(this.#timer);
    if (this.#terminal && this.#shown !== "") process.stdout.write("\n");
  }

  /** A line that stays, above the one that is rewritten. */
  say(line: string): void {
    process.stdout.write(this.#terminal ? `\r${line}\x1b[K\n` : `${line}\n`);
  }

  async #tick(): Promise<void> {
    await Promise.all(this.#edges.map((edge) => edge.read()));
    this.#show(this.#describe());
  }

  #describe(): string {
    const up = this.#edges.filter((edge) => edge.answers);
    if (up.length === 0) return "no answer from /metrics";
    const total = (figure: (edge: EdgeFigures) => number) => this.#edges.reduce((sum, edge) => sum + figure(edge), 0);
    const phases = PHASES.map((phase) => [total((edge) => edge.sessions(phase)), phase] as const);
    const clients = phases.filter(([count]) => count > 0).map(([count, phase]) => `${count} ${phase}`);
    const stanzas = total((edge) => edge.stanzas.value);
    const now = performance.now();
    const rate = this.#stanzas === null ? 0 : ((stanzas - this.#stanzas) * 1000) / (now - this.#readAt);
    this.#stanzas = stanzas;
    this.#readAt = now;
    const line = `sessions: ${clients.join(", ") || "none"} | ${rate.toFixed(1)} stanzas/s | resumes: ${total((edge) => edge.resumes.value)}`;
    if (this.#edges.length === 1) return line;
    const takeovers = total((edge) => edge.takeovers.value);
    return `${line} | takeovers: ${takeovers} | edges up: ${up.length} of ${this.#edges.length}`;
  }

  #show(text: string): void {
    if (this.#terminal) {
      // Cut to the width: a line that wraps cannot be rewritten.
      process.stdout.write(`\r${`${text} | Ctrl-C stops`.slice(0, process.stdout.columns - 1)}\x1b[K`);
    } else {
      if (text === this.#shown || performance.now() - this.#shownAt < PLAIN_MS) return;
      this.#shownAt = performance.now();
      process.stdout.write(`${text}\n`);
    }
    this.#shown = text;
  }
}

/** What one edge counts. */
class EdgeFigures {
  readonly stanzas = new Total();
  readonly resumes = new Total();
  readonly takeovers = new Total();
  readonly #url: string;
  /** Null while it does not answer. */
  #metrics: string | null = null;

  constructor(url: string) {
    this.#url = url;
  }

  get answers(): boolean {
    return this.#metrics !== null;
  }

  sessions(phase: string): number {
    return this.#metrics === null ? 0 : sum(this.#metrics, "breakwater_sessions", `phase="${phase}"`);
  }

  async read(): Promise<void> {
    try {
      this.#metrics = await (await fetch(this.#url, { signal: AbortSignal.timeout(TICK_MS) })).text();
    } catch {
      this.#metrics = null;
      return;
    }
    this.stanzas.read(sum(this.#metrics, "breakwater_stanzas_total"));
    this.resumes.read(sum(this.#metrics, "breakwater_sm_resumes_total", 'result="resumed"'));
    this.takeovers.read(sum(this.#metrics, "breakwater_sm_resumes_total", 'result="taken-over"'));
  }
}

/** A counter over all processes of an edge: what one that died had counted stays counted. */
class Total {
  #ofTheDead = 0;
  #last = 0;

  get value(): number {
    return this.#ofTheDead + this.#last;
  }

  read(count: number): void {
    if (count < this.#last) this.#ofTheDead += this.#last;
    this.#last = count;
  }
}

/** The sum of a metric's series whose labels contain `label`. */
function sum(metrics: string, name: string, label = ""): number {
  let total = 0;
  for (const line of metrics.split("\n")) {
    const [, labels = "", value] = line.startsWith(name) ? (/^\w+(?:\{(.*)\})? (\S+)$/.exec(line) ?? []) : [];
    const whole = line[name.length] === "{" || line[name.length] === " ";
    if (whole && value !== undefined && labels.includes(label)) total += Number(value);
  }
  return total;
}
