import { readlinkSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { BreakwaterError } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { doorOf, type Seat } from "../../base/seat.ts";
import type { HttpPort } from "../http/http-port.ts";
import { TrustedNetworks } from "../trusted-networks.ts";
import { RELAYED_FOR } from "./bosh-relay.ts";

// A Unix socket has no addresses; the client's is in the header.
const HERE = { address: "127.0.0.1", port: 0 };
const FORWARDED = { header: RELAYED_FOR, trusted: new TrustedNetworks([HERE.address]) };

/**
 * Where the other processes bring requests for sessions of this one: a Unix socket in a folder of the supervisor. Its name
 * leads to the latest process of the seat; one whose place was taken can still be found under its own.
 */
export class RelayDoor {
  readonly #name: string;
  readonly #path: string;
  readonly #server: Server;
  readonly #log: Log;

  constructor(seat: Seat, http: HttpPort, log: Log) {
    this.#name = seat.sockets[seat.number - 1]!;
    this.#path = doorOf(this.#name, process.pid);
    this.#log = log;
    this.#server = createServer((socket) =>
      http.take(socket, { client: HERE, server: HERE, secure: true, forwarded: FORWARDED, relayed: true }),
    );
  }

  listen(): Promise<void> {
    rmSync(this.#path, { force: true }); // left by a process that was killed
    return new Promise((resolve, reject) => {
      this.#server.once("error", (error) => {
        const text = `the socket ${this.#path} cannot be opened: ${error.message}. Is TMPDIR a folder that this user may write to?`;
        reject(new BreakwaterError("BW_LISTEN", text, { cause: error }));
      });
      this.#server.listen({ path: this.#path, backlog: 1024 }, () => {
        this.#server.removeAllListeners("error");
        this.#server.on("error", (error) => this.#log.error("cannot accept", { error: error.message }));
        const next = `${this.#path}.name`;
        symlinkSync(this.#path, next);
        renameSync(next, this.#name);
        resolve();
      });
    });
  }

  close(): void {
    this.#server.close();
    try {
      if (readlinkSync(this.#name) === this.#path) rmSync(this.#name);
    } catch {} // it has never listened
  }
}
