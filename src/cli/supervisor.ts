import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { opsPlace, type SocketHandle } from "../breakwater.ts";
import type { LoadedConfig } from "../config/load.ts";
import { type OpsInit, type OpsServer, startOpsServer } from "../ops/http.ts";
import { Fleet } from "./fleet.ts";
import { FleetDraining } from "./fleet-draining.ts";
import type { Life } from "./life.ts";
import { Office } from "./office.ts";
import type { PidFile } from "./pid-file.ts";
import { Reloader } from "./reloader.ts";
import { tellStartTrouble } from "./start-trouble.ts";
import { fixedOf } from "./upgrade/fixed.ts";
import { FleetGiver, type OpsPort } from "./upgrade/fleet-giver.ts";
import { follow } from "./upgrade/follow.ts";
import type { Forerunner } from "./upgrade/forerunner.ts";
import { Upgrade } from "./upgrade/upgrade.ts";
import { version } from "./version.ts";
import type { WorkerProcess } from "./worker-process.ts";
import { WorkersReport } from "./workers-report.ts";

/**
 * `breakwater run` with `workers: 2` or more: starts them, replaces those that end, and is one process towards operators:
 * its signals, its metrics and its readiness are those of all. With `before` it takes another supervisor's place, and each
 * worker that of one of its workers. Resolves with an exit code when the first start of any worker fails, as another try
 * would fail, too (unless it was killed while another serves); and otherwise never.
 */
export async function supervise(
  loaded: LoadedConfig,
  life: Life,
  log: Log,
  pid: PidFile,
  before: Forerunner | null,
): Promise<number> {
  const { config, file } = loaded;
  const folder = mkdtempSync(join(tmpdir(), "breakwater-"));
  const sockets = Array.from({ length: config.workers }, (_, i) => join(folder, `worker-${i + 1}.sock`));
  const ticketSecret = randomBytes(32).toString("base64");
  const fleet = new Fleet({ loaded, sockets, ticketSecret, log, ...(before?.workers && { before: before.workers }) });
  process.on("exit", () => {
    fleet.kill();
    rmSync(folder, { recursive: true, force: true });
  });
  const ops = new Ops(opsPlace(config), { listen: config.ops.listen, ...new WorkersReport(fleet).told });
  let failed: number | null;
  try {
    failed = await startFleet(fleet, ops, before);
  } catch (error) {
    await before?.refuse(messageOf(error));
    failed = tellStartTrouble(error);
  }
  if (failed !== null) {
    await before?.refuse("a worker of it cannot start: the lines above say why");
    await fleet.stop();
    return failed;
  }
  const office = new Office({ path: config.ops.control, pid, log });
  const upgrade = new Upgrade({
    giver: new FleetGiver(fleet, sockets, ops),
    fixed: fixedOf(config),
    log,
    release: () => office.release(),
    regain: () => void office.regain(),
    end: () => life.end(),
  });
  office.obey(new FleetDraining(fleet), upgrade);
  if (before !== null) {
    upgrade.follows(before);
    office.writePid();
  } else {
    try {
      await office.take();
    } catch (error) {
      await fleet.stop();
      return tellStartTrouble(error);
    }
  }
  // Node would open a debugger's port.
  process.on("SIGUSR1", () => {
    const reason = "an upgrade is under way";
    if (upgrade.isUnderWay) log.warn("no restart of the workers is begun", { reason });
    else void fleet.restart();
  });
  const reloader = new Reloader((next) => fleet.reload(next), loaded, log);
  await before?.serves();
  await life.began({
    reload: () => reloader.reload(),
    upgrade: () => upgrade.begin(null),
    stop: async () => {
      await upgrade.stop();
      const code = await fleet.stop();
      await ops.close();
      return code;
    },
  });
  const facts = { version: version(), pid: process.pid, config: file, workers: config.workers };
  log.info("breakwater started", { ...facts, ...(before !== null && { in_place_of: before.pid }) });
  if (before !== null) await follow(before, { upgrade, office, log, over: () => {} });
  return new Promise(() => {});
}

/** Resolves with an exit code when a worker cannot start; rejects when the ops server cannot. */
async function startFleet(fleet: Fleet, ops: Ops, before: Forerunner | null): Promise<number | null> {
  const handedOver = before?.places.indexOf(ops.place) ?? -1;
  if (handedOver < 0) await ops.open(null);
  if (before === null) return await fleet.start();
  before.onWorkerWord = (number, word, socket) => fleet.worker(number)!.beforeSaid(word, socket);
  before.onWorkerGone = (number) => fleet.worker(number)?.beforeGone();
  before.onWorkerUseless = (number) => fleet.worker(number)?.kill();
  const failed = await fleet.start((worker) => relay(worker, before));
  if (failed !== null) return failed;
  const sockets = await before.handOver(null);
  if (handedOver >= 0) await ops.open(sockets[handedOver] ?? null);
  return await fleet.opened();
}

function relay(worker: WorkerProcess, before: Forerunner): void {
  worker.onToBefore = (word) => void before.forWorker(worker.number, word);
  void worker.ended.then(() => before.workerGone(worker.number));
  void before.over.then((report) => {
    if (report === null) worker.beforeGone();
  });
}

/** The port of `ops.listen`. */
class Ops implements OpsPort {
  readonly place: string;
  readonly #init: OpsInit;
  #server: OpsServer | null = null;

  constructor(place: string, init: OpsInit) {
    this.place = place;
    this.#init = init;
  }

  async open(socket: SocketHandle | null): Promise<void> {
    this.#server = await startOpsServer({ ...this.#init, socket });
  }

  get openPorts() {
    const socket = this.#server?.handle ?? null;
    return socket === null ? [] : [{ place: this.place, socket }];
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }

  reopen(): Promise<void> {
    return this.open(null);
  }
}
