import { BreakwaterError, messageOf } from "../../base/errors.ts";
import { loadConfig } from "../../config/load.ts";
import { ConfigMistakes } from "../../config/mistakes.ts";
import type { UpgradeAnswer } from "../../ops/control.ts";
import { tellMistakes } from "../check.ts";
import { askControl } from "../control-client.ts";
import { EXIT } from "../exit-codes.ts";

export interface UpgradeArguments {
  readonly config: string;
  readonly launcher?: string | undefined;
}

const LOOK_MS = 200;
/** The control socket changes hands at the end. */
const GAP_MS = 15_000;

/** `breakwater upgrade`: has the running edge put a new process in its place, and shows how that goes. Returns the exit code. */
export async function upgrade({
  config,
  launcher = process.env["BREAKWATER_LAUNCHER"],
}: UpgradeArguments): Promise<number> {
  const loaded = loadConfig(config);
  if (loaded instanceof ConfigMistakes) return tellMistakes(loaded);
  const path = loaded.config.ops.control;
  if (path === undefined) {
    const line = "ops: { control: /run/breakwater/control.sock }";
    return tell(`${config} has no ops.control: send the edge SIGUSR2, or add ${line} and restart once`, EXIT.config);
  }
  try {
    const order = new URLSearchParams(launcher === undefined ? {} : { launcher });
    const { status, answer } = await askControl<UpgradeAnswer>(path, "POST", `/upgrade?${order}`);
    if (status !== 202) return tell(answer.trouble ?? `the edge answered ${status}`, EXIT.unavailable);
    return await watch(path, answer);
  } catch (error) {
    if (!(error instanceof BreakwaterError)) throw error;
    return tell(error.message, error.code === "BW_CONTROL_DENIED" ? EXIT.denied : EXIT.unavailable);
  }
}

async function watch(path: string, first: UpgradeAnswer): Promise<number> {
  let answer = first;
  let shown = "";
  let heardAt = performance.now();
  for (;;) {
    if (answer.phase === "failed") return tell(`${answer.trouble}\nprocess ${answer.pid} goes on`, EXIT.unavailable);
    if (answer.from === first.pid && answer.phase === "done") return say(summaryOf(answer));
    if (answer.pid !== first.pid && answer.from !== first.pid) {
      return tell(`process ${first.pid} is gone, and ${answer.pid} is not its heir: see the log`, EXIT.unavailable);
    }
    const line = lineOf(answer);
    if (line !== shown) say(line);
    shown = line;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    try {
      answer = (await askControl<UpgradeAnswer>(path, "GET", "/upgrade")).answer;
      heardAt = performance.now();
    } catch (error) {
      if (performance.now() - heardAt > GAP_MS) {
        throw new BreakwaterError("BW_CONTROL_SILENT", `nobody answers any more: ${messageOf(error)}`);
      }
    }
  }
}

function lineOf({ phase, pid, heir, left, total, dormant }: UpgradeAnswer): string {
  if (phase === "starting") return `process ${heir} starts; ${pid} serves`;
  if (phase === "handing-over") return `process ${heir} takes the ports and the sessions of absent clients`;
  const tenth = total === 0 ? 10 : Math.floor(((total - left) / total) * 10);
  return `process ${heir} serves, with ${dormant} absent clients; ${tenth * 10} % of ${total} connected ones were let go`;
}

function summaryOf({ pid, from, seconds, handedOver, how }: UpgradeAnswer): string {
  if (how === undefined) return `process ${pid} serves; ${from} ended before it was through: see the log`;
  const { moved, redirected, shutdown } = how;
  return (
    `process ${pid} serves in place of ${from}, after ${seconds.toFixed(1)} s: ${handedOver} sessions handed over, ${moved} can ` +
    `resume by their core, ${redirected + shutdown} clients log in anew.`
  );
}

function say(text: string): number {
  process.stdout.write(`${text}\n`);
  return EXIT.ok;
}

function tell(text: string, code: number): number {
  process.stderr.write(`breakwater: ${text}\n`);
  return code;
}
