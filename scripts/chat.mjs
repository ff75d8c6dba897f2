#!/usr/bin/env node
// A very small chat client on @xmpp/client, to see Breakwater work: node scripts/chat.mjs ME PEER [options]
// Its point is "/cut": it tears the connection as a dead spot does, comes back, and nothing is missing.

import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { client, jid, xml } from "@xmpp/client";

const USAGE = `node scripts/chat.mjs me@example.org peer@example.org [--password pw] [--host 127.0.0.1] [--port 5222]

Each line goes to the peer. /cut tears the connection, /quit or Ctrl-D ends. NODE_EXTRA_CA_CERTS=FILE names an
authority to trust.`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    password: { type: "string", default: "pw" },
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "5222" },
    help: { type: "boolean", short: "h" },
  },
});
const [me, peer] = positionals;
if (values.help || !me || !peer) {
  console.log(USAGE);
  process.exit(values.help ? 0 : 64);
}

const { local: username, domain } = jid(me);
const service = `xmpp://${values.host}:${values.port}`;
const xmpp = client({ service, domain, credentials });
xmpp.timeout = 20_000; // two seconds are little for a machine that has just begun
const waiting = [];
let ready = false;
let cut = false;
let leaving = false;

xmpp.on("stanza", (stanza) => {
  const body = stanza.is("message") && stanza.getChildText("body");
  if (body) console.log(`${stanza.attrs.from.split("/")[0]}: ${body}`);
});
xmpp.on("online", async (address) => {
  await acknowledging();
  await xmpp.send(xml("presence"));
  console.log(`You are ${address}.${cut ? " (a new session)" : " Write to your peer; /cut tears the connection."}`);
  sendWaiting();
});
xmpp.streamManagement.on("resumed", () => {
  console.log("Back: the session was resumed.");
  setImmediate(sendWaiting); // the library is about to say that it is online
});
xmpp.on("disconnect", () => {
  ready = false;
  if (cut && !leaving) console.log("The connection is gone; back in a moment …");
});
xmpp.on("error", (error) => {
  if (cut) return; // it tries again by itself
  console.error(hint(error));
  process.exit(1);
});

// Inside TLS, and xmpp.js would compute two seconds for SCRAM.
function credentials(authenticate, mechanisms) {
  const mechanism = mechanisms.includes("PLAIN") ? "PLAIN" : mechanisms[0];
  return authenticate({ username, password: values.password }, mechanism);
}

function hint(error) {
  if (/certificate|issuer|self.signed/i.test(error.message)) {
    return `The certificate is not trusted (${error.message}): set NODE_EXTRA_CA_CERTS to the authority's file.`;
  }
  if (error.code === "ECONNREFUSED") return `Nothing listens on ${values.host}:${values.port}: is it the right --port?`;
  return `${me} cannot log in: ${error.message || error.name}`;
}

createInterface({ input: process.stdin })
  .on("line", (line) => {
    if (line === "/quit") quit();
    else if (line === "/cut") tear();
    else if (line !== "") waiting.push(line);
    if (ready) sendWaiting();
  })
  .once("close", quit);

// xmpp.js miscounts what arrives together with <enabled/> (XEP-0198): before our first presence nothing does.
function acknowledging() {
  return new Promise((done) => {
    xmpp.on("nonza", (element) => element.is("enabled") && setImmediate(done));
    setTimeout(done, 2000); // a server without it
  });
}

function sendWaiting() {
  ready = true;
  for (const line of waiting.splice(0)) {
    xmpp.send(xml("message", { to: peer, type: "chat" }, xml("body", {}, line))).catch(() => waiting.push(line));
  }
}

// As when the phone leaves the cell: no end of the stream, no end of TLS.
function tear() {
  cut = true;
  (xmpp.socket?.socket ?? xmpp.socket)?.destroy();
}

async function quit() {
  leaving = true;
  if (xmpp.status === "online") await xmpp.stop().catch(() => {});
  process.exit(0);
}

process.once("SIGINT", quit);
await xmpp.start().catch(() => {}); // "error" has told it
