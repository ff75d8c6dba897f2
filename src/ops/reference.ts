import { type Distribution, meter, type Series } from "../base/meter.ts";

/** docs/metrics.md, drawn from what is declared: import every room first. */
export function metricsReference(): string {
  const rows = [...meter.all()].toSorted((a, b) => a.name.localeCompare(b.name, "en")).map(row);
  return `${INTRODUCTION}${rows.join("\n")}\n`;
}

const INTRODUCTION = `# Metrics reference

Drawn from the code by \`npm run docs\`; a test fails when it is stale. \`GET /metrics\` on \`ops.listen\` serves these as
Prometheus text, and beside them what prom-client knows of any Node process (\`process_*\`, \`nodejs_*\`), save those that look at every open socket.

| Metric | Kind | Labels | Meaning |
|---|---|---|---|
`;

function row({ name, kind, labelNames, help }: Series | Distribution): string {
  const labels = labelNames.map((label) => `\`${label}\``).join(", ") || "–";
  return `| \`${name}\` | ${kind} | ${labels} | ${help.replaceAll("|", "\\|")} |`;
}
