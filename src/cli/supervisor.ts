import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Log } from "../base/log.ts";
import type { LoadedConfig } from "../config/load.ts";
import { type OpsServer, startOpsServer } from "../ops/http.ts";
import { Fleet } from "./fleet.ts";
import type { Life } from "./life.ts";
import type { PidFile } from "./pid-file.ts";
import { Reloader } from "./reloader.ts";
import { tellStartTrouble } from "./start-trouble.ts";
import { version } from "./version.ts";
import { WorkersReport } from "./workers-report.ts";

const ONE_BY_ONE =
  "with several workers there is none: install the new version, then restart; SIGTERM drains, and clients resume by resume_secret";

/**
 * `breakwater run` with `workers: 2` or more: starts them, replaces those that end, and is one process towards operators:
 * its signals, its metrics and its readiness are those of all. Resolves with an exit code when the first start of any worker
 * fails, as another try would fail, too (unless it was killed while another serves); and otherwise never.
 */
export async function supervise(loaded: LoadedConfig, life: Life, log: Log, pid: PidFile): Promise<number> {
  const { config, file } = loaded;
  const folder = mkdtempSync(join(tmpdir(), "breakwater-"));
  const sockets = Array.from({ length: config.workers }, (_, i) => join(folder, `worker-${i + 1}.sock`));
  const fleet = new Fleet({ loaded, sockets, ticketSecret: randomBytes(32).toString("base64"), log });
  process.on("exit", () => {
    fleet.kill();
    rmSync(folder, { recursive: true, force: true });
  });
  let ops: OpsServer;
  try {
    ops = await startOpsServer({ listen: config.ops.listen, ...new WorkersReport(fleet).told });
  } catch (error) {
    return tellStartTrouble(error);
  }
  // Node would open a debugger's port.
  process.on("SIGUSR1", () => void fleet.restart());
  const failed = await fleet.start();
  if (failed !== null) {
    await fleet.stop();
    return failed;
  }
  pid.write();
  const reloader = new Reloader((next) => fleet.reload(next), loaded, log);
  await life.began({
    reload: () => reloader.reload(),
    upgrade: () => log.warn("no upgrade is begun", { reason: ONE_BY_ONE }),
    stop: async () => {
      const code = await fleet.stop();
      await ops.close();
      return code;
    },
  });
  log.info("breakwater started", { version: version(), pid: process.pid, config: file, workers: config.workers });
  return new Promise(() => {});
}
