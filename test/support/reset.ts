import type { Socket } from "node:net";

/**
 * Ends a TCP connection by RST; `above` is the TLS socket that runs on it. Where one side has ended already it is closed
 * plainly: while a shutdown is under way libuv takes no reset, and Node 24 then believes the handle to be closing for
 * ever. The connection would stay open and the process spin when it should exit.
 */
export function reset(socket: Socket, above: Socket = socket): void {
  if (socket.writableEnded || above.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
