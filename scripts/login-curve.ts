/**
 * Draws what test/cores/restart-workers.test.ts has measured (RESTART_CURVE): the logins that a core sees in each second
 * while workers are restarted. `node scripts/login-curve.ts curve.json > docs/restart-workers.svg`
 */
import { readFileSync } from "node:fs";

interface Curve {
  readonly core: string;
  readonly clients: number;
  readonly workers: number;
  readonly rate: number;
  readonly logins: readonly number[];
}

const PLOT = { left: 44, top: 34, width: 680, height: 200 };
const STYLE =
  "text{font:12px sans-serif;fill:#333}.bar{fill:#4477aa}.axis{stroke:#888}.rate{stroke:#cc3311;stroke-dasharray:6 4}";

const { core, clients, workers, rate, logins } = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as Curve;
const { left, top, width, height } = PLOT;
const most = Math.ceil((Math.max(rate, ...logins) * 1.1) / 10) * 10;
const x = (second: number): number => round(left + (second / logins.length) * width);
const y = (count: number): number => round(top + height - (count / most) * height);
const bottom = top + height;
const bars = logins.map((count, second) => {
  const wide = round(Math.max(1, x(1) - left - 1));
  return `<rect class="bar" x="${x(second)}" y="${y(count)}" width="${wide}" height="${round(bottom - y(count))}"/>`;
});
const seconds = Array.from({ length: Math.floor(logins.length / 10) + 1 }, (_, i) => i * 10);
const title = `${core}: logins per second while ${workers} workers with ${clients} clients are restarted`;

process.stdout.write(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + width + 20} ${bottom + 44}" role="img">
<title>${title}</title><style>${STYLE}</style><rect width="100%" height="100%" fill="#fff"/>
<text x="${left}" y="18">${title}</text>
${bars.join("\n")}
<path class="axis" fill="none" d="M${left} ${top}V${bottom}H${left + width}"/>
<path class="rate" d="M${left} ${y(rate)}H${left + width}"/>
<text x="${left + width}" y="${y(rate) - 5}" text-anchor="end">drain.rate</text>
${[0, rate].map((count) => `<text x="${left - 6}" y="${y(count) + 4}" text-anchor="end">${count}</text>`).join("\n")}
${seconds.map((second) => `<text x="${x(second)}" y="${bottom + 18}" text-anchor="middle">${second}</text>`).join("\n")}
<text x="${left + width / 2}" y="${bottom + 36}" text-anchor="middle">seconds</text>
</svg>
`);

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
