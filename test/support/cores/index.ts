import type { Core, CoreKind, CoreOptions } from "./core.ts";
import { startEjabberd } from "./ejabberd.ts";
import { startProsody } from "./prosody.ts";

export { ALL_CORES, type Core, type CoreKind, type CoreOptions } from "./core.ts";
export { type Ejabberd, startEjabberd } from "./ejabberd.ts";
export { freePort, freePorts } from "./ports.ts";
export { streamFeatures } from "./probe.ts";
export { type Prosody, startProsody } from "./prosody.ts";

export function startCore(kind: CoreKind, options: CoreOptions = {}): Promise<Core> {
  return kind === "ejabberd" ? startEjabberd(options) : startProsody(options);
}
