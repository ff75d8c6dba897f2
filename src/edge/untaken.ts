import type { Socket } from "node:net";
import { PacedTlsSocket } from "../tls/paced-socket.ts";

/** What Node's own idle timeout of sockets looks at; not in its documentation. */
interface Handle {
  readonly bytesWritten?: number;
  readonly writeQueueSize?: number;
}

/**
 * Bytes written to a socket that the kernel has not taken; null when it has gone without a trace of that. `writableLength`
 * counts a write until the last byte of it has left, and one write may hold a megabyte: to a phone on 2G it says for minutes
 * that nothing moves.
 */
export function untakenBytes(socket: Socket): number | null {
  if (socket instanceof PacedTlsSocket) return socket.untakenBytes;
  // A destroyed socket counts what it drops as if it had left.
  if (socket.destroyed) return null;
  const waiting = socket.writableLength;
  if (waiting === 0) return 0;
  const { bytesWritten, writeQueueSize } = (socket as Socket & { _handle?: Handle | null })._handle ?? {};
  if (bytesWritten === undefined || writeQueueSize === undefined) return waiting;
  // What waits for its turn was counted by the socket, but not by its handle.
  return socket.bytesWritten - bytesWritten + writeQueueSize;
}
