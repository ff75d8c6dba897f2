import { createInterface } from "node:readline/promises";
import { BreakwaterError, messageOf } from "../base/errors.ts";
import { loadConfig } from "../config/load.ts";
import { ConfigMistakes } from "../config/mistakes.ts";
import type { ControlAnswer } from "../ops/control.ts";
import { tellMistakes } from "./check.ts";
import { askControl } from "./control-client.ts";
import { EXIT } from "./exit-codes.ts";
import { ProgressBar, summaryOf } from "./progress.ts";

export interface DrainArguments {
  readonly config: string;
  readonly rate?: string | undefined;
  readonly to?: string | undefined;
  readonly abort?: boolean | undefined;
}

const LOOK_MS = 200;
const GOES_ON = "the drain goes on: breakwater drain shows it, breakwater drain --abort lets clients in again";

/** `breakwater drain`: has a running edge let its clients go, and shows how that goes. Returns the exit code. */
export async function drain({ config, rate, to, abort }: DrainArguments): Promise<number> {
  const perSecond = rate === undefined ? null : (/^(\d+(?:\.\d+)?)(?:\/s)?$/.exec(rate)?.[1] ?? "");
  if (perSecond === "") return tell(`--rate ${rate}: expected clients a second, such as 50/s`, EXIT.usage);
  const loaded = loadConfig(config);
  if (loaded instanceof ConfigMistakes) return tellMistakes(loaded);
  const path = loaded.config.ops.control;
  if (path === undefined) {
    const line = "ops: { control: /run/breakwater/control.sock }";
    return tell(`${config} has no ops.control, by which commands reach the edge: add ${line} and restart`, EXIT.config);
  }
  try {
    if (abort) return await abortDrain(path);
    const order = new URLSearchParams({ ...(perSecond !== null && { rate: perSecond }), ...(to && { to }) });
    return await new DrainView(path).begin(order);
  } catch (error) {
    if (!(error instanceof BreakwaterError)) throw error;
    return tell(error.message, error.code === "BW_CONTROL_DENIED" ? EXIT.denied : EXIT.unavailable);
  }
}

async function abortDrain(path: string): Promise<number> {
  const { status, answer } = await askControl(path, "DELETE", "/drain");
  if (status === 200) return say("the drain is aborted: clients are let in again");
  if (status === 409 && !answer.stopping) return say(answer.trouble ?? "no drain is under way");
  return tell(answer.trouble ?? `the edge answered ${status}`, EXIT.unavailable);
}

/** A drain as the terminal shows it. */
class DrainView {
  readonly #path: string;
  readonly #bar = new ProgressBar(process.stdout);
  #asking = false;
  #code: number | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  async begin(order: URLSearchParams): Promise<number> {
    const { status, answer } = await askControl(this.#path, "POST", `/drain?${order}`);
    if (status === 400) return tell(answer.trouble ?? "", EXIT.usage);
    if (status === 409) {
      const ignored = order.size > 0 ? "; --rate and --to have no effect on it" : "";
      process.stderr.write(`breakwater: ${answer.trouble} already${ignored}\n`);
    } else if (status !== 202) return tell(answer.trouble ?? `the edge answered ${status}`, EXIT.unavailable);
    process.on("SIGINT", () => void this.#interrupted());
    return await this.#watch(answer);
  }

  async #watch(first: ControlAnswer): Promise<number> {
    let answer = first;
    while (this.#code === null && answer.phase === "draining") {
      if (!this.#asking) this.#bar.show(answer);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      answer = await this.#look();
    }
    if (this.#code !== null) return this.#code;
    this.#bar.end(answer);
    if (answer.phase === "serving") return tell("the drain was aborted: clients are let in again", EXIT.unavailable);
    return say(summaryOf(answer));
  }

  async #look(): Promise<ControlAnswer> {
    try {
      return (await askControl(this.#path, "GET", "/drain")).answer;
    } catch (error) {
      this.#bar.clear();
      throw new BreakwaterError("BW_CONTROL_SILENT", `the edge has gone while it drained: ${messageOf(error)}`);
    }
  }

  // Ctrl-C: whoever looks away does not mean the clients.
  async #interrupted(): Promise<void> {
    this.#bar.clear();
    if (this.#asking || !process.stdin.isTTY) return this.#leave();
    this.#asking = true;
    const terminal = createInterface({ input: process.stdin, output: process.stderr });
    terminal.once("SIGINT", () => this.#leave());
    const answer = await terminal.question("Abort the drain, and let clients in again? [y/N] ");
    terminal.close();
    this.#asking = false;
    if (!/^y(es)?$/i.test(answer.trim())) return;
    try {
      this.#code = await abortDrain(this.#path);
    } catch (error) {
      this.#code = tell(messageOf(error), EXIT.unavailable);
    }
  }

  #leave(): void {
    process.stderr.write(`\n${GOES_ON}\n`);
    process.exit(130);
  }
}

function say(text: string): number {
  process.stdout.write(`${text}\n`);
  return EXIT.ok;
}

function tell(text: string, code: number): number {
  process.stderr.write(`breakwater: ${text}\n`);
  return code;
}
