import { type LoadedConfig, loadConfig } from "../config/load.ts";
import { ConfigMistakes, mistakeLine } from "../config/mistakes.ts";
import { addressText, coreAddressText, printConfig } from "../config/print.ts";
import type { Config } from "../config/schema.ts";
import { descriptorTrouble } from "./descriptors.ts";
import { EXIT } from "./exit-codes.ts";

/** `breakwater check`: tells all mistakes, or what the file means. Returns the exit code. */
export function check(options: { config: string; print: boolean }): number {
  const loaded = loadConfig(options.config);
  if (loaded instanceof ConfigMistakes) return tellMistakes(loaded);
  process.stdout.write(options.print ? printConfig(loaded.config) : summary(loaded));
  for (const line of warningsOf(loaded)) process.stderr.write(`warning: ${line}\n`);
  return EXIT.ok;
}

/** Writes the mistakes to standard error. Returns the exit code. */
export function tellMistakes(wrong: ConfigMistakes): number {
  const lines = wrong.lines();
  if (lines.length > 1) lines.push(`${lines.length} mistakes in ${wrong.file}`);
  process.stderr.write(`${lines.join("\n")}\n`);
  return EXIT.config;
}

export function warningsOf({ file, config, warnings }: LoadedConfig): string[] {
  const descriptors = descriptorTrouble(Math.ceil(config.limits.max_connections / config.workers));
  return [...warnings.map((warning) => mistakeLine(file, warning)), ...(descriptors ? [descriptors] : [])];
}

function summary({ file, config }: LoadedConfig): string {
  const rows = [...domainRows(config), ...listenerRows(config), ...coreRows(config)];
  rows.push(["ops", `http://${addressText(config.ops.listen)}`]);
  if (config.workers > 1) rows.push(["workers", `${config.workers} processes behind one supervisor`]);
  const lines = rows.map(([what, text]) => `  ${what.padEnd(10)} ${text}`);
  return `${file} is valid\n${lines.join("\n")}\n`;
}

function domainRows({ domains }: Config): [string, string][] {
  return domains.map(({ name, core, certificates }) => {
    const many = certificates.length === 1 ? "1 certificate" : `${certificates.length || "no"} certificates`;
    return ["domain", `${name}, served by ${core}, ${many}`];
  });
}

function listenerRows({ listeners }: Config): [string, string][] {
  return listeners.map(({ kind, listen, proxy_protocol, forwarded }) => {
    const behind = proxy_protocol
      ? `, PROXY header from ${proxy_protocol.trusted.join(", ")}`
      : forwarded
        ? `, ${forwarded.header} from ${forwarded.trusted.join(", ")}`
        : "";
    return ["listener", `${kind} on ${addressText(listen)}${behind}`];
  });
}

function coreRows({ cores }: Config): [string, string][] {
  return cores.map((core) => {
    const header = core.proxy_protocol === "off" ? "" : `, PROXY header ${core.proxy_protocol}`;
    const unacked = `at most ${core.max_unacked} stanzas unacknowledged`;
    return ["core", `${core.name}, ${core.kind} at ${coreAddressText(core.connect)}${header}, ${unacked}`];
  });
}
