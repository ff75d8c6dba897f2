/** How a load client's XML travels: over a stream of its own, WebSocket or BOSH. */
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, createSecureContext, type SecureContext } from "node:tls";

export interface LoadTarget {
  readonly port: number;
  readonly tls: boolean;
  readonly domain: string;
  /** Absent: a stream of its own. */
  readonly http?: { readonly kind: "websocket" | "bosh"; readonly path: string };
}

export interface Wire {
  /** Stands in the start tag of each stanza where no stream around it says so. */
  readonly xmlns: string;
  onBytes: (bytes: Buffer) => void;
  onLost: (why: string) => void;
  /** Begins a stream: the first, and another after login. */
  open(): void;
  write(...elements: Buffer[]): void;
  /** A polite end; resolves when the connection is closed. */
  end(): Promise<void>;
  destroy(): void;
}

export const NO_OWNER = (): void => {};
/** A server that does not close within this is left alone. */
export const END_MS = 5000;

// One context for all: the certificate's chain is not what is measured.
let context: SecureContext | null = null;

/** TCP or TLS 1.3, connected. `session`: of an earlier connection. */
export function openSocket({ port, tls, domain, http }: LoadTarget, session?: Buffer): Promise<Socket> {
  context ??= createSecureContext({ minVersion: "TLSv1.3" });
  const secureContext = context;
  return new Promise((resolve, reject) => {
    const at = { host: "127.0.0.1", port, noDelay: true };
    const socket = tls
      ? connectTls({
          ...at,
          servername: domain,
          ALPNProtocols: [http ? "http/1.1" : "xmpp-client"],
          secureContext,
          rejectUnauthorized: false,
          ...(session ? { session } : {}),
        })
      : connectTcp(at);
    socket.once("error", reject);
    socket.once(tls ? "secureConnect" : "connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

/** Waits until the socket is closed, by force after a while. */
export async function closed(socket: Socket): Promise<void> {
  if (socket.destroyed) return;
  const close = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  const timer = setTimeout(() => socket.destroy(), END_MS);
  await close;
  clearTimeout(timer);
}
