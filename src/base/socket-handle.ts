import { type Server, Socket } from "node:net";

declare const socketHandle: unique symbol;
/**
 * An open socket, or one that listens, as Node holds it (a `TCP` or `Pipe`): what a process sends to another. A copy that
 * came over is not read and accepts nobody until a Socket or Server is made of it, and is closed with its process.
 */
export interface SocketHandle {
  readonly [socketHandle]: true;
  close(): void;
}

/** The handle of a socket or server that is open, else null. It stays theirs. */
export function handleOf(owner: Socket | Server): SocketHandle | null {
  return (owner as unknown as { _handle: SocketHandle | null })._handle;
}

/** A socket for a handle that came from another process; it begins to read at once. `onread` as for `net.connect`. */
export function socketOf(
  handle: SocketHandle,
  onread: { buffer: Uint8Array; callback(size: number, buffer: Uint8Array): boolean },
): Socket {
  return new Socket({ handle, onread } as unknown as ConstructorParameters<typeof Socket>[0]);
}
