const PHASES = ["connecting", "authenticating", "active", "inactive", "dormant", "resuming", "draining"];
const TICK_MS = 1000;
/** Where lines cannot be rewritten, so long is waited between two. */
const PLAIN_MS = 5_000;

/** One line about what goes on, read from /metrics: rewritten in place on a terminal, else now and then when it changed. */
export class LiveLine {
  readonly #url: string;
  readonly #terminal = process.stdout.isTTY === true;
  #timer: NodeJS.Timeout;
  #stanzas: number | null = null;
  #readAt = 0;
  #shown = "";
  #shownAt = Number.NEGATIVE_INFINITY;

  constructor(metricsUrl: string) {
    this.#url = metricsUrl;
    this.#timer = setInterval(() => void this.#tick(), TICK_MS);
    void this.#tick();
  }

  stop(): void {
    clearInterval(this.#timer);
    if (this.#terminal && this.#shown !== "") process.stdout.write("\n");
  }

  async #tick(): Promise<void> {
    try {
      this.#show(this.#describe(await (await fetch(this.#url)).text()));
    } catch {
      this.#show("no answer from /metrics");
    }
  }

  #describe(metrics: string): string {
    const phases = PHASES.map((phase) => [sum(metrics, "breakwater_sessions", `phase="${phase}"`), phase] as const);
    const clients = phases.filter(([count]) => count > 0).map(([count, phase]) => `${count} ${phase}`);
    const stanzas = sum(metrics, "breakwater_stanzas_total");
    const now = performance.now();
    const rate = this.#stanzas === null ? 0 : ((stanzas - this.#stanzas) * 1000) / (now - this.#readAt);
    this.#stanzas = stanzas;
    this.#readAt = now;
    const resumes = sum(metrics, "breakwater_sm_resumes_total", 'result="resumed"');
    return `sessions: ${clients.join(", ") || "none"} | ${rate.toFixed(1)} stanzas/s | resumes: ${resumes}`;
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
