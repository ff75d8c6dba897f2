import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { TestContext } from "node:test";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { TlsContexts, type TlsSettings } from "../../src/tls/contexts.ts";
import { type DevelopmentCertificate, developmentCertificate } from "../../src/tls/development-certificate.ts";
import { PacedTlsSocket } from "../../src/tls/paced-socket.ts";
import { TicketKeys } from "../../src/tls/tickets.ts";
import { TurnedClock } from "../support/clock.ts";

/** A server that does what the edge does with its contexts: wraps what it accepts. Greets with "hi" and echoes. */
export interface TlsServer {
  readonly port: number;
  readonly contexts: TlsContexts;
  readonly tickets: TicketKeys;
  readonly clock: TurnedClock;
  /** PEM of the authorities of all its domains. */
  readonly ca: string[];
  /** The sockets that it made, in order, and the errors that they met. */
  readonly sockets: TLSSocket[];
  readonly errors: Error[];
}

export interface TlsServerOptions {
  readonly domains?: readonly string[];
  readonly settings?: Partial<TlsSettings>;
  readonly kind?: "starttls" | "tls";
  readonly rotateSeconds?: number;
  readonly secret?: string;
  readonly clock?: TurnedClock;
  /** Sets the domains itself. */
  readonly setUp?: (contexts: TlsContexts) => void;
}

const made = new Map<string, DevelopmentCertificate>();

export function certificateFor(domain: string): DevelopmentCertificate {
  const certificate = made.get(domain) ?? developmentCertificate([domain]);
  made.set(domain, certificate);
  return certificate;
}

export async function tlsServer(t: TestContext, options: TlsServerOptions = {}): Promise<TlsServer> {
  const { domains = ["chat.example"], settings, kind = "tls", rotateSeconds = 3600, secret } = options;
  const clock = options.clock ?? new TurnedClock();
  const tickets = new TicketKeys({ clock, rotateSeconds, secret });
  const contexts = new TlsContexts({ minVersion: "TLSv1.2", ...settings }, tickets);
  if (options.setUp) options.setUp(contexts);
  else
    for (const domain of domains) {
      const { certificate, key } = certificateFor(domain);
      contexts.set({ domain, certificates: [{ chain: certificate, key }] });
    }
  const sockets: TLSSocket[] = [];
  const errors: Error[] = [];
  const raws = new Set<Socket>();
  const server = createServer((raw) => {
    raws.add(raw);
    const socket = new PacedTlsSocket(raw, contexts.serverOptions(kind));
    sockets.push(socket);
    socket.on("error", (error) => errors.push(error));
    socket.on("_tlsError", (error) => {
      errors.push(error);
      socket.destroy();
    });
    socket.once("secure", () => socket.write("hi"));
    socket.on("data", (chunk) => socket.write(chunk));
    socket.on("end", () => socket.end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const raw of raws) raw.destroy();
    server.close();
    tickets.close();
  });
  const { port } = server.address() as AddressInfo;
  return { port, contexts, tickets, clock, ca: domains.map((name) => certificateFor(name).ca), sockets, errors };
}

/** What a client learnt from one handshake and the greeting after it. */
export interface Seen {
  readonly name: string;
  readonly resumed: boolean;
  readonly protocol: string | null;
  readonly alpn: string | false | null;
  readonly session: Buffer | null;
}

/** Shakes hands, waits for the greeting, and leaves. Rejects when the handshake fails. */
export function visit(server: TlsServer, options: ConnectionOptions = {}): Promise<Seen> {
  return new Promise((resolve, reject) => {
    let session: Buffer | null = null;
    let seen: Omit<Seen, "session"> | null = null;
    const to = { port: server.port, host: "127.0.0.1", ca: server.ca, servername: "chat.example" };
    const socket = connect({ ...to, ...options });
    socket.on("session", (ticket) => {
      session = ticket;
    });
    socket.on("error", reject);
    socket.once("data", () => {
      const name = socket.getPeerCertificate().subject?.CN;
      seen = {
        name: typeof name === "string" ? name : "",
        resumed: socket.isSessionReused(),
        protocol: socket.getProtocol(),
        alpn: socket.alpnProtocol,
      };
      socket.end();
    });
    // Not before: tickets may come behind the greeting.
    socket.once("close", () => (seen ? resolve({ ...seen, session }) : reject(new Error("closed without a greeting"))));
  });
}

/** Runs OpenSSL's own client against the server and gives all that it printed. */
export function sClient(server: TlsServer, ...options: string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = execFile(
      "openssl",
      ["s_client", "-connect", `127.0.0.1:${server.port}`, ...options],
      (_error, stdout, stderr) => resolve(stdout + stderr),
    );
    child.stdin!.end();
  });
}

/** OpenSSL's client with its command letters ("R" asks for a renegotiation). */
export function interactiveClient(t: TestContext, server: TlsServer, ...options: string[]): ChildProcess {
  const child = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${server.port}`, ...options]);
  t.after(() => child.kill("SIGKILL"));
  return child;
}

/** A client that stays: greeted, and ready for `echo`. */
export async function stay(t: TestContext, port: number, ca: string): Promise<TLSSocket> {
  const socket = connect({ port, host: "127.0.0.1", ca, servername: "chat.example" });
  t.after(() => socket.destroy());
  await once(socket, "data");
  return socket;
}

export async function echo(socket: TLSSocket, text: string): Promise<string> {
  socket.write(text);
  const [answer] = (await once(socket, "data")) as [Buffer];
  return answer.toString();
}
