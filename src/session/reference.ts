import { CLOSE_REASONS } from "../base/close-reasons.ts";
import { PHASES } from "./phases.ts";

/** The phase table as Markdown, drawn from the table that the code obeys. */
export function phaseReference(): string {
  const rows = Object.entries(PHASES).map(([phase, row]) => {
    const leaves = new Map<string, string[]>();
    for (const [event, to] of Object.entries(row.on)) leaves.set(to, [...(leaves.get(to) ?? []), event]);
    const ways = [...leaves].map(([to, events]) => `${events.join(", ")} → **${to}**`).join("; ") || "–";
    const deadline = row.deadline === null ? "–" : `\`${row.deadline}\``;
    return `| **${phase}** | ${row.link} | ${row.core} | ${row.fromCore} | ${deadline} | ${ways} |\n`;
  });
  return `| phase | link | core stream | frames from the core go to | deadline | leaves on |\n|---|---|---|---|---|---|\n${rows.join("")}`;
}

/** Why links and sessions end, as Markdown. */
export function reasonReference(): string {
  const rows = Object.entries(CLOSE_REASONS).map(
    ([reason, { condition, resumable }]) =>
      `| \`${reason}\` | ${condition === null ? "–" : `\`${condition}\``} | ${resumable ? "yes" : "no"} |\n`,
  );
  return `| reason (log, metrics) | stream error to the client | can be resumed |\n|---|---|---|\n${rows.join("")}`;
}
