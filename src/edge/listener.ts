import { createServer, type Server, type Socket } from "node:net";
import { BreakwaterError } from "../base/errors.ts";
import { meter } from "../base/meter.ts";
import type { Address } from "../base/option-types.ts";
import { handleOf, type SocketHandle } from "../base/socket-handle.ts";
import type { Endpoint, Link, LinkOwner } from "../session/ports.ts";
import type { FramerLimits } from "../xmpp/framer.ts";
import type { Admission } from "./admission.ts";
import type { ForwardedBy } from "./http/forwarded.ts";
import type { HttpConnectionInit } from "./http/http-connection.ts";
import type { HttpPort } from "./http/http-port.ts";
import { nextLinkId } from "./links.ts";
import type { ListenerOptions } from "./options.ts";
import { Porch } from "./porch.ts";
import { ProxyHeaderReader } from "./proxy-protocol.ts";
import { type LinkHost, type LinkInit, TcpLink } from "./tcp-link.ts";
import { type DoorGuests, openDoor } from "./tls-door.ts";
import { TrustedNetworks } from "./trusted-networks.ts";

const accepted = meter.counter("breakwater_connections_total", "Connections accepted, by kind of listener", ["kind"]);
const proxyRefused = meter.counter(
  "breakwater_proxy_header_refused_total",
  "Connections closed over a PROXY header, by reason",
  ["reason"],
);

/** How long a balancer may take for its PROXY header; it sends it with the connection. */
const PROXY_HEADER_MS = 5000;

export interface ListenerHost extends LinkHost {
  /** Other processes listen at the same address: the kernel deals the connections out (SO_REUSEPORT). */
  readonly reusePort: boolean;
  readonly admission: Admission;
  /** Where sockets go that speak HTTP. */
  readonly http: HttpPort;
  /** For clients that have not logged in. */
  limits(): FramerLimits;
  /** How long a client may take to say what it is, from its turn to shake hands. */
  openTimeoutMs(kind: "https" | "all"): number;
  /** After how many silent seconds the kernel probes a connection; 0: never. */
  keepaliveSeconds(): number;
  /** A client has come: who owns its link? */
  welcome(link: Link): LinkOwner;
}

// Handlers are shared by all connections; a socket knows where it came in, and who it is once it was let in.
const LISTENER = Symbol("listener");
const VISIT = Symbol("visit");
type Visit = HttpConnectionInit;
type VisitorSocket = Socket & { [LISTENER]?: Listener; [VISIT]?: Visit };

/** One port that clients connect to. */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #host: ListenerHost;
  readonly #server: Server;
  readonly #trusted: TrustedNetworks | null;
  readonly #forwarded: ForwardedBy | null;
  readonly #sockets = new Set<Socket>();
  readonly #waiting = new Set<Porch>();
  // Once it has listened the port is known, also where any free one would have done.
  #place: Address;
  readonly #guests: DoorGuests<Visit> = {
    xmpp: (socket, { client, server }) => this.#welcome(socket, "plaintext", client, server),
    http: (socket, visit) => this.#host.http.take(socket, visit),
  };

  constructor(options: ListenerOptions, host: ListenerHost) {
    this.#options = options;
    this.#host = host;
    this.#place = options.listen;
    const { proxy_protocol: proxy, forwarded } = options;
    this.#forwarded = forwarded ? { header: forwarded.header, trusted: new TrustedNetworks(forwarded.trusted) } : null;
    this.#trusted = proxy ? new TrustedNetworks(proxy.trusted) : (this.#forwarded?.trusted ?? null);
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  }

  /** Its socket while it listens: for a process that takes this one's place. */
  get handle(): SocketHandle | null {
    return handleOf(this.#server);
  }

  /**
   * Resolves with the address in use, the same one after `close`; rejects with BW_LISTEN when it cannot be had. With a
   * `socket` of the process before this one it goes on where that one stopped, with those who wait in it.
   */
  listen(socket: SocketHandle | null = null): Promise<Address> {
    const { host, port } = this.#place;
    const { reusePort } = this.#host;
    const { backlog } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.removeAllListeners("error");
      this.#server.once("error", (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)));
      const listening = (): void => {
        this.#server.removeAllListeners("error");
        // EMFILE and the like: the next accept may work again.
        this.#server.on("error", (error) =>
          this.#host.log.error("cannot accept", { listener: `${host}:${port}`, error: error.message }),
        );
        const at = this.#server.address();
        if (typeof at === "object" && at !== null) this.#place = { host: at.address, port: at.port };
        resolve(this.#place);
      };
      if (socket === null) this.#server.listen({ host, port, backlog, reusePort }, listening);
      else this.#server.listen(socket, backlog, listening);
    });
  }

  /** Accepts nobody any more, nor those who still wait; those who are inside stay. */
  close(): void {
    this.#server.close();
    for (const porch of this.#waiting) porch.gone();
  }

  /** Drops every connection that came in here. */
  dropAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** For the handler below. */
  gone(socket: VisitorSocket): void {
    this.#sockets.delete(socket);
    const visit = socket[VISIT];
    if (visit !== undefined) this.#host.admission.leave(addressOf(visit));
  }

  #accept(socket: VisitorSocket): void {
    accepted.inc(this.#options.kind);
    const { remoteAddress, remotePort, localAddress, localPort } = socket;
    if (remoteAddress === undefined) return void socket.destroy(); // gone before we looked
    this.#host.turnstile.arrived();
    this.#sockets.add(socket);
    socket[LISTENER] = this;
    socket.on("close", onClose);
    const client = { address: plain(remoteAddress), port: remotePort ?? 0 };
    const server = { address: plain(localAddress ?? "::"), port: localPort ?? 0 };
    if (this.#trusted === null) return this.#admit(socket, client, server);
    if (!this.#trusted.includes(remoteAddress)) {
      proxyRefused.inc("untrusted");
      this.#host.log.warn("connection from outside the trusted balancers closed", { client: client.address });
      return void socket.destroy();
    }
    if (this.#forwarded !== null) return this.#admit(socket, client, server);
    this.#readProxyHeader(socket, client, server);
  }

  #readProxyHeader(socket: Socket, client: Endpoint, server: Endpoint): void {
    const reader = new ProxyHeaderReader();
    const patience = this.#host.clock.after(PROXY_HEADER_MS, () =>
      this.#refuseProxy(socket, client, "timeout", "no PROXY header came"),
    );
    socket.on("error", ignore);
    socket.once("close", () => patience.cancel());
    const onData = (chunk: Buffer): void => {
      let header: ReturnType<ProxyHeaderReader["push"]>;
      try {
        header = reader.push(chunk);
      } catch (error) {
        patience.cancel();
        return this.#refuseProxy(
          socket,
          client,
          "malformed",
          error instanceof BreakwaterError ? error.message : "unreadable",
        );
      }
      if (!header.done) return;
      patience.cancel();
      socket.off("data", onData);
      socket.pause();
      if (header.rest.length > 0) socket.unshift(header.rest);
      // The link reads on: a TLS socket takes what waits in a paused socket, and loses it in a flowing one.
      this.#admit(socket, header.source ?? client, header.destination ?? server);
    };
    socket.on("data", onData);
  }

  #refuseProxy(socket: Socket, client: Endpoint, reason: string, detail: string): void {
    proxyRefused.inc(reason);
    this.#host.log.warn("balancer's connection closed", { client: client.address, reason, detail });
    socket.destroy();
  }

  #admit(socket: VisitorSocket, client: Endpoint, server: Endpoint): void {
    const { admission, http, keepaliveSeconds, turnstile } = this.#host;
    const visit = { client, server, secure: true, forwarded: this.#forwarded };
    if (!admission.admit(addressOf(visit))) return void socket.destroy();
    socket[VISIT] = visit;
    const keepalive = keepaliveSeconds();
    if (keepalive > 0) socket.setKeepAlive(true, keepalive * 1000);
    const { kind } = this.#options;
    if (kind === "starttls" || kind === "plaintext") this.#welcome(socket, kind, client, server);
    else if (kind === "http") http.take(socket, visit);
    // Whoever has to wait has its deadlines from when it comes in.
    else if (turnstile.passes(kind === "tls")) this.#shakeHands(socket, kind, visit);
    else this.#porch(socket, kind, visit);
  }

  #porch(socket: Socket, kind: "tls" | "https" | "all", visit: Visit): void {
    const porch = new Porch(socket, kind === "tls", this.#host.turnstile, () => {
      this.#waiting.delete(porch);
      this.#shakeHands(socket, kind, visit);
    });
    this.#waiting.add(porch);
    socket.once("close", () => this.#waiting.delete(porch));
  }

  #shakeHands(socket: Socket, kind: "tls" | "https" | "all", visit: Visit): void {
    if (kind === "tls") this.#welcome(socket, kind, visit.client, visit.server);
    else openDoor(socket, kind, this.#host, this.#host.openTimeoutMs(kind), this.#guests, visit);
  }

  #welcome(socket: Socket, kind: LinkInit["kind"], client: Endpoint, server: Endpoint): void {
    const init = { id: nextLinkId(), kind, client, server, limits: this.#host.limits() };
    const link = new TcpLink(socket, init, this.#host);
    link.owner = this.#host.welcome(link);
  }
}

// A connection of a balancer carries many clients: HttpPort knows whose, and asks again for those that stay.
function addressOf({ client, forwarded }: Visit): string | null {
  return forwarded === null ? client.address : null;
}

function onClose(this: VisitorSocket): void {
  this[LISTENER]!.gone(this);
}

function ignore(): void {}

// An IPv4 client on a dual-stack socket.
function plain(address: string): string {
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): BreakwaterError {
  const where = `${host}:${port}`;
  const why: Record<string, string> = {
    EADDRINUSE: `${where} is in use by another program: stop it, or give listeners another port (ss -ltnp shows who it is)`,
    EACCES: `${where} needs more rights: ports below 1024 want root or CAP_NET_BIND_SERVICE`,
    ENOTSUP: `${where} cannot be shared by several processes on this system: write \`workers: 1\``,
    EADDRNOTAVAIL: `${where} is not an address of this machine: see ip addr, or listen on ":${port}" for all`,
  };
  return new BreakwaterError("BW_LISTEN", why[error.code ?? ""] ?? `cannot listen on ${where}: ${error.message}`);
}
