import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { WebSocketServer } from "ws";
import type { Clock } from "../../base/clock.ts";
import type { Janitor } from "../../base/janitor.ts";
import type { Log } from "../../base/log.ts";
import type { Endpoint, Link, LinkOwner } from "../../session/ports.ts";
import type { FramerLimits } from "../../xmpp/framer.ts";
import { mayConnect } from "../http/origins.ts";
import { answer, refuseUpgrade, type UpgradeRoute } from "../http/route.ts";
import type { HttpOptions } from "../options.ts";
import { acceptOffer, type DeflateTerms } from "./deflate-offer.ts";
import { WebSocketLink } from "./websocket-link.ts";

const SUBPROTOCOL = "xmpp"; // RFC 7395 §3.1

export interface WebSocketHost {
  readonly clock: Clock;
  readonly janitor: Janitor;
  readonly log: Log;
  options(): HttpOptions["websocket"];
  origins(): readonly string[];
  domains(): ReadonlySet<string>;
  limits(): { readonly beforeLogin: FramerLimits; readonly afterLogin: FramerLimits };
  /** Where clients go on when this edge stops, null while it does not. */
  seeOtherUri(): string | null;
  welcome(link: Link): LinkOwner;
}

/** Lets WebSocket clients in: handshake, subprotocol and origin (RFC 6455 §4.2, RFC 7395 §3.1). */
export class WebSocketPort implements UpgradeRoute {
  readonly path: string;
  readonly methods = ["GET"];
  readonly #host: WebSocketHost;
  #server: WebSocketServer | null = null;
  #maxPayload = 0;
  // For the handshake that is being answered.
  #deflate: DeflateTerms | null = null;

  constructor(host: WebSocketHost) {
    this.#host = host;
    this.path = host.options().path;
  }

  /** A request that asks for nothing else: a person with a browser, or a proxy that has dropped the header. */
  handle(_request: IncomingMessage, response: ServerResponse): void {
    const headers = { Upgrade: "websocket", Connection: "Upgrade" };
    answer(response, 426, "This is for XMPP over WebSocket (RFC 7395)", headers);
  }

  upgrade(request: IncomingMessage, socket: Socket, head: Buffer, client: Endpoint, server: Endpoint): void {
    const { headers } = request;
    if (headers["sec-websocket-version"] !== "13") {
      return refuseUpgrade(socket, 426, "version", "Upgrade Required", "Sec-WebSocket-Version: 13\r\n");
    }
    if (!mayConnect(headers.origin, this.#host.domains(), this.#host.origins())) {
      this.#host.log.info("page of another origin refused", { client: client.address, origin: headers.origin ?? "" });
      return refuseUpgrade(socket, 403, "origin", "Forbidden");
    }
    const offered = (headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
    if (!offered.includes(SUBPROTOCOL)) return refuseUpgrade(socket, 400, "subprotocol", "Bad Request");
    const { compression } = this.#host.options();
    const terms = mayCompress(compression, headers) ? acceptOffer(headers["sec-websocket-extensions"]) : null;
    // RFC 6455 §9.1
    if (terms === "malformed") return refuseUpgrade(socket, 400, "extensions", "Bad Request");
    this.#deflate = terms;
    this.#handshakes().handleUpgrade(request, socket, head, (ws) => {
      const deflate = terms && { ...terms, beforeLogin: compression === "always" };
      const init = { client, server, limits: this.#host.limits().beforeLogin, deflate };
      const link = new WebSocketLink(ws, socket, init, this.#host);
      link.owner = this.#host.welcome(link);
    });
  }

  // ws asks for its limit when a connection begins; a reload may have changed it.
  #handshakes(): WebSocketServer {
    const maxPayload = this.#host.limits().afterLogin.maxBytes;
    if (this.#server === null || maxPayload !== this.#maxPayload) {
      this.#maxPayload = maxPayload;
      this.#server = new WebSocketServer({
        noServer: true,
        clientTracking: false,
        // Its own keeps zlib streams and does not ask who may compress; ours is the Inflater.
        perMessageDeflate: false,
        maxPayload,
        handleProtocols: () => SUBPROTOCOL,
      });
      this.#server.on("headers", (lines) => {
        if (this.#deflate !== null) lines.push(`Sec-WebSocket-Extensions: ${this.#deflate.answer}`);
      });
    }
    return this.#server;
  }
}

/** Pages compress all that they send, `<open/>` first: they would be refused before login, and do as well without. */
function mayCompress(
  compression: HttpOptions["websocket"]["compression"],
  headers: IncomingMessage["headers"],
): boolean {
  return compression === "always" || (compression === "after_login" && headers.origin === undefined);
}
