import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

/** Where a stream should answer. */
export interface Target {
  readonly domain: string;
  readonly host?: string;
  readonly port?: number;
  readonly unixPath?: string;
  readonly tls?: boolean;
  /** The listener wants a PROXY header first. */
  readonly proxy?: boolean;
}

/** Opens a stream and answers its `<stream:features>` as text. Throws when nothing of that kind comes. */
export function streamFeatures(target: Target, timeoutMs = 2000): Promise<string> {
  return new Promise((resolve, reject) => {
    const at = target.unixPath ? { path: target.unixPath } : { host: target.host ?? "127.0.0.1", port: target.port! };
    const socket: Socket = target.tls ? connectTls({ ...at, rejectUnauthorized: false }) : connect(at);
    let text = "";
    const finish = (error: Error | null) => {
      socket.destroy();
      if (error) reject(error);
      else resolve(text);
    };
    socket.setTimeout(timeoutMs, () => finish(new Error(`no stream features within ${timeoutMs} ms, got: ${text}`)));
    socket.once("error", finish);
    socket.once("close", () => finish(new Error(`closed before stream features, got: ${text}`)));
    socket.on("data", (data) => {
      text += data.toString("utf8");
      if (/<\/stream:features>|<stream:features\s*\/>/.test(text)) finish(null);
      else if (text.includes("No stream features to proceed with"))
        finish(null); // Prosody: up, with nothing to offer
      else if (text.includes("<stream:error")) finish(new Error(`stream error: ${text}`));
    });
    // In the same tick as the connect: ejabberd reads the PROXY header in its accept loop, and a silent one blocks it.
    if (target.proxy) socket.write("PROXY TCP4 127.0.0.1 127.0.0.1 40000 5222\r\n");
    socket.write(
      `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' ` +
        `version='1.0' to='${target.domain}'>`,
    );
  });
}

/** Waits until a real stream answers at every target, as long as `running()` holds. */
export async function streamsAnswer(
  targets: readonly Target[],
  running: () => boolean,
  limitMs: number,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  for (const target of targets) {
    for (;;) {
      try {
        await streamFeatures(target);
        break;
      } catch (error) {
        if (!running()) throw new Error("the server ended while it was starting", { cause: error });
        if (performance.now() > deadline) throw new Error(`not ready after ${limitMs} ms`, { cause: error });
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    }
  }
}
