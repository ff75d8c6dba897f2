// The edge of the quickstart: what `breakwater run` does, with a page beside it. Arguments: the configuration file, and
// what the page must know (PageFacts) as JSON.
import { messageOf } from "../../src/base/errors.ts";
import { createLog, type Log } from "../../src/base/log.ts";
import { start } from "../../src/breakwater.ts";
import { Reloader } from "../../src/cli/reloader.ts";
import { surviveErrors } from "../../src/cli/survive.ts";
import { type LoadedConfig, loadConfig } from "../../src/config/load.ts";
import { ConfigMistakes } from "../../src/config/mistakes.ts";
import { type PageFacts, pageRoutes } from "./page.ts";

async function serve(loaded: LoadedConfig, facts: PageFacts, log: Log): Promise<void> {
  const breakwater = await start({ config: loaded.config, log, routes: pageRoutes(facts) });
  const reloader = new Reloader((next) => breakwater.reload(next.config), loaded, log);
  process.on("SIGHUP", () => void reloader.reload());
  // Once: a second one ends the process as it is.
  process.once("SIGTERM", () => void breakwater.stop().finally(() => process.exit(0)));
}

const [file, facts] = process.argv.slice(2) as [string, string];
try {
  const loaded = loadConfig(file);
  if (loaded instanceof ConfigMistakes) throw new Error(loaded.lines().join("\n"));
  const log = createLog({ level: loaded.config.log.level });
  await serve(loaded, JSON.parse(facts) as PageFacts, log);
  surviveErrors(log);
} catch (error) {
  console.error(messageOf(error));
  process.exit(1);
}
