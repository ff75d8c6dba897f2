import type { IncomingMessage, ServerResponse } from "node:http";
import { domainToUnicode } from "node:url";
import { escapeText } from "../../xmpp/element.ts";
import type { HttpOptions } from "../options.ts";
import { answer, type HttpRoute } from "./route.ts";
import { targetOf } from "./target.ts";

const RELATIONS = {
  websocket: "urn:xmpp:alt-connections:websocket", // XEP-0156 §4
  bosh: "urn:xmpp:alt-connections:xbosh",
} as const;

export interface HostMetaHost {
  options(): HttpOptions;
  domains(): ReadonlySet<string>;
}

/** Where a page finds WebSocket and BOSH (XEP-0156 §3), as XRD (RFC 6415) and as JSON. */
export function hostMetaRoutes(host: HostMetaHost): HttpRoute[] {
  return [
    route("/.well-known/host-meta", "application/xrd+xml; charset=utf-8", host, (links) => {
      const tags = links.map(([rel, href]) => `  <Link rel='${rel}' href='${escapeText(href)}'/>\n`).join("");
      return `<?xml version='1.0' encoding='utf-8'?>\n<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>\n${tags}</XRD>\n`;
    }),
    route("/.well-known/host-meta.json", "application/json", host, (links) => {
      return `${JSON.stringify({ links: links.map(([rel, href]) => ({ rel, href })) }, null, 2)}\n`;
    }),
  ];
}

function route(path: string, type: string, host: HostMetaHost, write: (links: Links) => string): HttpRoute {
  const methods = ["GET", "HEAD", "OPTIONS"];
  const anyPage = { "Access-Control-Allow-Origin": "*" }; // XEP-0156 §3: pages of any origin read it
  return {
    path,
    methods,
    handle(request: IncomingMessage, response: ServerResponse): void {
      if (request.method === "OPTIONS") {
        response.writeHead(204, { ...anyPage, "Access-Control-Allow-Methods": methods.join(", ") });
        return void response.end();
      }
      const links = linksFor(targetOf(request)?.host ?? "", host);
      if (links === null) return answer(response, 404, "This domain is not served here", anyPage);
      const body = Buffer.from(write(links));
      response.writeHead(200, {
        ...anyPage,
        "Content-Type": type,
        "Content-Length": body.length,
        "Cache-Control": "max-age=3600",
        Vary: "Host",
      });
      response.end(body);
    },
  };
}

type Links = readonly (readonly [rel: string, href: string])[];

/** Null when the host that was asked is no domain of ours. An edge with one domain may be asked by any name. */
function linksFor(authority: string, { options, domains }: HostMetaHost): Links | null {
  if (!/^[\w.\-:[\]]+$/.test(authority)) return null;
  const name = domainToUnicode(authority.replace(/:\d{1,5}$/, "").toLowerCase());
  const all = domains();
  const domain = all.has(name) ? name : all.size === 1 ? [...all][0]! : null;
  if (domain === null) return null;
  const { host_meta: told, websocket, bosh } = options();
  return [
    [RELATIONS.websocket, addressFor(told.websocket ?? `wss://${authority}${websocket.path}`, domain)],
    [RELATIONS.bosh, addressFor(told.bosh ?? `https://${authority}${bosh.path}`, domain)],
  ];
}

function addressFor(template: string, domain: string): string {
  return template.replaceAll("{domain}", domain);
}
