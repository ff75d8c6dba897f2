import { type OptionNode, ROOT, type SectionNode, unitWord } from "./option-tree.ts";

/** docs/config.md, drawn from the schemas. */
export function configReference(): string {
  const sections = [...ROOT.keys].map(([name, node]) => chapter(name, node));
  return `${INTRODUCTION}\n${sections.join("\n")}`;
}

const INTRODUCTION = `# Configuration reference

Drawn from the code by \`npm run docs\`; a test fails when it is stale. \`config/breakwater.example.yaml\` shows all of it
at work, and \`breakwater check --config FILE\` tells every mistake with its line.

The file is YAML. \`domains\`, \`listeners\` and \`cores\` must be there; every other section may be absent. Relative paths
start at the folder of the file. A *secret* is written as a text, as \`{ file: path }\` or as \`{ env: NAME }\`, and is never
printed. *Reload* says whether \`SIGHUP\` applies a change (limits and timeouts: from the next session on); the rest waits
for a restart.
`;

function chapter(name: string, node: OptionNode): string {
  const item = node.kind === "list" ? node.item : node;
  const rows = item.kind === "section" ? rowsOf(item, "") : [row(name, item)];
  const many = node.kind === "list" ? " A list; each item:" : "";
  return [
    `## ${name}`,
    "",
    ...(node.kind === "value" ? [] : [`${node.about.description ?? ""}${many}`, ""]),
    "| Key | Meaning | Value | Default | Reload |",
    "|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

function rowsOf(section: SectionNode, prefix: string): string[] {
  return [...section.keys].flatMap(([key, node]) => {
    const name = `${prefix}${key}`;
    if (node.kind === "section") return [headRow(name, node), ...rowsOf(node, `${name}.`)];
    if (node.kind === "list" && node.item.kind === "section")
      return [headRow(`${name}[]`, node), ...rowsOf(node.item, `${name}[].`)];
    return [row(name, node)];
  });
}

function headRow(name: string, node: OptionNode): string {
  return `| **\`${name}\`** | ${cell(node.about.description ?? "")} | | ${node.required ? "required" : ""} | |`;
}

function row(name: string, node: OptionNode): string {
  const value = node.kind === "list" ? `a list, each ${node.item.expected}` : node.expected;
  const reload = node.about.reload ? "yes" : "restart";
  return `| \`${name}\` | ${cell(node.about.description ?? "")} | ${cell(valueText(node, value))} | ${fallbackText(node)} | ${reload} |`;
}

function valueText(node: OptionNode, expected: string): string {
  if (node.about.resolve === "secret") return `secret: ${expected}`;
  return expected;
}

function fallbackText(node: OptionNode): string {
  if (node.required) return "required";
  if (node.fallback === undefined) return "–";
  const readable = node.about.unit === "bytes" ? bytesText(Number(node.fallback)) : null;
  const unit = node.about.unit && !readable ? ` ${unitWord(node.about.unit)}` : "";
  return `\`${node.fallback}\`${readable ? ` (${readable})` : unit}`;
}

function bytesText(bytes: number): string {
  const [size, unit] = bytes >= 2 ** 20 ? [bytes / 2 ** 20, "MiB"] : [bytes / 2 ** 10, "KiB"];
  return `${size} ${unit}`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}
