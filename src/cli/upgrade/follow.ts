import type { Log } from "../../base/log.ts";
import type { Office } from "../office.ts";
import type { Forerunner } from "./forerunner.ts";
import type { Report } from "./messages.ts";
import type { Upgrade } from "./upgrade.ts";

export interface Follower {
  readonly upgrade: Upgrade;
  readonly office: Office;
  readonly log: Log;
  /** The process before has no sessions any more; null: nobody knows how its last ones went. */
  over(how: Report["how"] | null): void;
}

/** The new process serves: the clients of the one before come one after the other, and at last what both want to have. */
export async function follow(before: Forerunner, { upgrade, office, log, over }: Follower): Promise<void> {
  const report = await before.over;
  over(report?.how ?? null);
  upgrade.followed(report);
  if (report === null) log.error("the process before this one ended before it was through", { pid: before.pid });
  await office.takeControl();
  await before.settled();
  const { how, ...facts } = report ?? {};
  log.info("took the place of the process before", { pid: before.pid, ...facts, ...how });
}
