import { type LoadedConfig, parseConfig } from "../../src/config/load.ts";
import { ConfigMistakes } from "../../src/config/mistakes.ts";

const FILE = "/etc/breakwater/breakwater.yaml";

/** The smallest configuration that is valid, to which a test adds what it is about. */
export const SMALL = `domains:
  - name: example.org
    certificate: example.org.crt
    key: example.org.key
listeners:
  - { kind: starttls, listen: "[::]:5222" }
cores:
  - { name: main, connect: "tcp://127.0.0.1:14222" }
`;

/** The mistakes of a text, each without the file's name. */
export function mistakesOf(text: string, env: Record<string, string> = {}): string[] {
  const loaded = parseConfig(text, FILE, env);
  return loaded instanceof ConfigMistakes ? loaded.lines().map((line) => line.slice(FILE.length + 1).trim()) : [];
}

export function loaded(text: string, env: Record<string, string> = {}): LoadedConfig {
  const result = parseConfig(text, FILE, env);
  if (result instanceof ConfigMistakes) throw new Error(result.lines().join("\n"));
  return result;
}
