import type { Log } from "./base/log.ts";
import type { LoadedConfig } from "./config/load.ts";
import type { ConfigMistakes } from "./config/mistakes.ts";
import type { Config } from "./config/schema.ts";
import { Health } from "./ops/health.ts";
import { startOpsServer } from "./ops/http.ts";
import { measureLoopLag } from "./ops/loop-lag.ts";
import { Metrics } from "./ops/metrics.ts";

export interface Breakwater {
  stop(): Promise<void>;
  reload(config: Config): Promise<void>;
}

export interface StartOptions {
  readonly config: Config;
  readonly configFile: string;
  readonly log: Log;
  readonly load: () => LoadedConfig | ConfigMistakes;
}

/** Placeholder until the rooms are joined: the ops server alone. */
export async function start({ config }: StartOptions): Promise<Breakwater> {
  const stopLag = measureLoopLag();
  const ops = await startOpsServer({ listen: config.ops.listen, health: new Health(), metrics: new Metrics() });
  return {
    stop: async () => {
      stopLag();
      await ops.close();
    },
    reload: async () => {},
  };
}
