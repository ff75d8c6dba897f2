// Whether the ports are free, and who has them if not. Plain JavaScript: asked before anything is installed.

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createServer } from "node:net";
import { MachineError } from "../machine.mjs";

export const HOST = "127.0.0.1";

/** Each edge listens so much higher than the one before it. */
export const EDGE_STEP = 1000;

/** Throws a MachineError that names every port of the edges that cannot be had. */
export async function requirePorts(edges) {
  const troubles = [];
  for (const [i, ports] of edges.entries()) {
    for (const [name, port] of Object.entries(ports)) {
      const code = await listenTrouble(port);
      if (code === null) continue;
      const owner = edges.length === 1 ? name : `${name} of edge ${i + 1}`;
      troubles.push(await sentence(code, { port, owner, name, first: edges[0][name], edges: edges.length }));
    }
  }
  if (troubles.length > 0) throw new MachineError(troubles.join("\nquickstart: "));
}

async function sentence(code, { port, owner, name, first, edges }) {
  if (code === "EACCES") {
    return `this user may not open port ${port} (${owner}): choose one from 1024 on, e.g. --ports ${name}=${first + 5000}`;
  }
  if (code !== "EADDRINUSE") return `port ${port} (${owner}) of ${HOST} cannot be opened: ${code}`;
  const program = ownerOf(port);
  const who = program === null ? "another program" : `${program.name} (process ${program.pid})`;
  const other = await freePortFrom(first + 10_000 > 60_000 ? 15_000 : first + 10_000, edges);
  return `port ${port} (${owner}) is in use by ${who}: stop it, or choose another one with --ports ${name}=${other}`;
}

/** Null when a program could listen on the port now, else the error's code. */
function listenTrouble(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error) => resolve(error.code ?? error.message));
    server.listen({ host: HOST, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}

/** A port that is free for the first edge, as the ones above it are for the others. */
async function freePortFrom(lowest, edges) {
  for (let port = lowest; port + (edges - 1) * EDGE_STEP < 65_535; port++) {
    const all = Array.from({ length: edges }, (_, i) => listenTrouble(port + i * EDGE_STEP));
    if ((await Promise.all(all)).every((trouble) => trouble === null)) return port;
  }
  return 0;
}

/** The program that listens on a port, from /proc; null when it cannot be seen (another user's, or not Linux). */
export function ownerOf(port) {
  try {
    const inodes = new Set(["/proc/net/tcp", "/proc/net/tcp6"].flatMap((table) => listeningInodes(table, port)));
    const pid = readdirSync("/proc").find((name) => /^\d+$/.test(name) && holdsSocket(name, inodes));
    return pid === undefined ? null : { pid: Number(pid), name: readFileSync(`/proc/${pid}/comm`, "utf8").trim() };
  } catch {
    return null;
  }
}

// Columns of proc(5): local address, remote address, state (0A listens), queues, timer, retransmits, uid, timeout, inode.
function listeningInodes(table, port) {
  const end = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = readFileSync(table, "utf8").split("\n").slice(1);
  return rows
    .map((row) => row.trim().split(/\s+/))
    .filter((columns) => columns[1]?.endsWith(end) && columns[3] === "0A")
    .map((columns) => `socket:[${columns[9]}]`);
}

function holdsSocket(pid, inodes) {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((fd) => {
      try {
        return inodes.has(readlinkSync(`${folder}/${fd}`));
      } catch {
        return false;
      }
    });
  } catch {
    return false;
  }
}
