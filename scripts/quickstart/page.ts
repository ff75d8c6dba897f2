import { createReadStream, readdirSync, statSync } from "node:fs";
import { extname, join, resolve } from "node:path";
import { pipeline } from "node:stream";
import type { HttpRoute } from "../../src/breakwater.ts";

const OURS = resolve(import.meta.dirname, "page");
const CONVERSE = resolve(import.meta.dirname, "../../node_modules/converse.js/dist");

/** What is served; files of other kinds (source maps) are not. */
const TYPES: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".mp3": "audio/mpeg",
  ".ogg": "audio/ogg",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".ttf": "font/ttf",
};

// Nothing comes from elsewhere, and no script stands in a page. Styles do: converse.js writes style attributes.
const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; " +
    "font-src 'self'; media-src 'self'; connect-src 'self'; frame-src 'self'; frame-ancestors 'self'; " +
    "base-uri 'none'; form-action 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cache-Control": "no-cache",
};

/** The accounts that the page logs in, and where. It logs nobody in by itself when there are none. */
export interface PageFacts {
  readonly domain: string;
  readonly accounts: readonly { readonly jid: string; readonly password: string }[];
  readonly websocketPath: string;
  readonly boshPath: string;
}

/**
 * The newcomer's page, with converse.js from npm: one route per file that is there now, so that no path can lead out of
 * the two folders.
 */
export function pageRoutes(facts: PageFacts): HttpRoute[] {
  return [
    fileRoute("/", join(OURS, "index.html")),
    fileRoute("/chat", join(OURS, "chat.html")),
    ...folderRoutes("/page/", OURS),
    ...folderRoutes("/converse/", CONVERSE),
    factsRoute("/page/facts.json", facts),
  ];
}

function folderRoutes(prefix: string, folder: string): HttpRoute[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => extname(name) in TYPES)
    .map((name) => fileRoute(prefix + name, join(folder, name)));
}

function fileRoute(path: string, file: string): HttpRoute {
  const headers = { ...HEADERS, "Content-Type": TYPES[extname(file)], "Content-Length": statSync(file).size };
  return {
    path,
    methods: ["GET", "HEAD"],
    handle(_request, response): void {
      response.writeHead(200, headers);
      pipeline(createReadStream(file), response, () => {}); // what goes wrong ends the connection
    },
  };
}

function factsRoute(path: string, facts: PageFacts): HttpRoute {
  const body = Buffer.from(JSON.stringify(facts));
  return {
    path,
    methods: ["GET", "HEAD"],
    handle(_request, response): void {
      response.writeHead(200, { ...HEADERS, "Content-Type": TYPES[".json"], "Content-Length": body.length });
      response.end(body);
    },
  };
}
