import { readFileSync } from "node:fs";
import { connect as connectTcp, isIP, type NetConnectOpts, type Socket } from "node:net";
import { connect as connectTls, createSecureContext, type SecureContext } from "node:tls";
import { BreakwaterError, messageOf } from "../base/errors.ts";
import { type SocketHandle, socketOf } from "../base/socket-handle.ts";
import type { CoreOptions } from "./options.ts";

/**
 * What `dial` reads into: one buffer for all core streams of the process. A read is handed on and used up before the
 * next one begins, so sharing it saves the 64 KiB that a busy socket would keep.
 */
const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);

/**
 * A core that is gone without a word (its machine lost power, a firewall forgot the connection) is noticed by the kernel
 * after this time and ten seconds, also for clients that send nothing: nobody asks the core anything for those.
 */
const PROBE_AFTER_MS = 60_000;

type Reader = (this: Socket, chunk: Buffer, borrowed: boolean) => void;

/** A socket to a core, open or about to be. */
export interface Dialing {
  /** When it can be written to: `null` at once. */
  readonly opensWith: "connect" | "secureConnect" | null;
  dial(read: Reader): Socket;
}

/** A connection that the process before this one has opened. */
export class Redialed implements Dialing {
  readonly opensWith = null;
  readonly #handle: SocketHandle;

  constructor(handle: SocketHandle) {
    this.#handle = handle;
  }

  dial(read: Reader): Socket {
    const callback = (size: number): boolean => {
      read.call(socket, READ_BUFFER.subarray(0, size), true);
      return true;
    };
    const socket = socketOf(this.#handle, { buffer: READ_BUFFER, callback });
    return socket;
  }
}

/** Where a core's streams go. Made once per core and configuration. */
export class Dialer implements Dialing {
  readonly options: CoreOptions;
  readonly #context: SecureContext | null;

  /** Throws BreakwaterError("BW_CORE_TLS") when the authorities for a `tls://` core cannot be read. */
  constructor(options: CoreOptions) {
    this.options = options;
    this.#context = options.connect.transport === "tls" ? contextFor(options) : null;
  }

  get opensWith(): "connect" | "secureConnect" {
    return this.options.connect.transport === "tls" ? "secureConnect" : "connect";
  }

  /** The place as an operator wrote it. */
  get place(): string {
    const at = this.options.connect;
    if (at.transport === "unix") return `unix:${at.path}`;
    return `${at.transport}://${at.host.includes(":") ? `[${at.host}]` : at.host}:${at.port}`;
  }

  /**
   * Begins to connect. `read` gets chunks of a shared buffer: they are only borrowed, and only while it runs. With TLS
   * they are the socket's own. `read` is called with the socket as `this`.
   */
  dial(read: Reader): Socket {
    const at = this.options.connect;
    if (at.transport === "tls") {
      const socket = connectTls({
        host: at.host,
        port: at.port,
        secureContext: this.#context!,
        ...servername(this.options.tls?.servername ?? at.host),
        ALPNProtocols: ["xmpp-client"],
      });
      socket.once("connect", probe);
      socket.on("data", (chunk) => read.call(socket, chunk, false));
      return socket;
    }
    const where = at.transport === "unix" ? { path: at.path } : { host: at.host, port: at.port, noDelay: true };
    const options: NetConnectOpts = {
      ...where,
      onread: {
        buffer: READ_BUFFER,
        callback: (size: number) => {
          read.call(socket, READ_BUFFER.subarray(0, size), true);
          return true;
        },
      },
    };
    const socket: Socket = connectTcp(options);
    if (at.transport === "tcp") socket.once("connect", probe);
    return socket;
  }
}

function probe(this: Socket): void {
  this.setKeepAlive(true, PROBE_AFTER_MS);
}

// An IP address is no server name (RFC 6066 §3).
function servername(name: string): { servername?: string } {
  return isIP(name) ? {} : { servername: name };
}

function contextFor({ name, tls }: CoreOptions): SecureContext {
  try {
    return createSecureContext(tls?.ca === undefined ? {} : { ca: readFileSync(tls.ca) });
  } catch (error) {
    throw new BreakwaterError(
      "BW_CORE_TLS",
      `core "${name}": its authorities (tls.ca) cannot be used: ${messageOf(error)}`,
    );
  }
}
