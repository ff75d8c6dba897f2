#!/usr/bin/env node
// A very small chat client on @xmpp/client, to see Breakwater work: node scripts/chat.mjs ME PEER [options]
// Its point is "/cut": it tears the connection as a dead spot does, comes back, and nothing is missing.

import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { client, jid, xml } from "@xmpp/client";

const USAGE = `node scripts/chat.mjs me@example.org peer@example.org [--password pw] [--host 127.0.0.1] [--port 5222]

Each line goes to the peer. /cut tears the connection, /quit or Ctrl-D ends. With --port 5222,6222 each new connection
takes the next of the ports. NODE_EXTRA_CA_CERTS=FILE names an authority to trust.`;

/** So often in a row it tries to come back, a second apart, before it gives up. */
const MAX_ATTEMPTS = 15;

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
const ports = values.port.split(",");
const xmpp = client({ service: serviceAt(ports[0]), domain, credentials });
xmpp.timeout = 20_000; // two seconds are little for a machine that has just begun
const waiting = [];
let ready = false;
let leaving = false;
let wasOnline = false;
let failures = 0; // since we were online

xmpp.on("stanza", (stanza) => {
  const body = stanza.is("message") && stanza.getChildText("body");
  if (body) console.log(`${stanza.attrs.from.split("/")[0]}: ${body}`);
});
xmpp.on("online", async (address) => {
  await acknowledging();
  await xmpp.send(xml("presence"));
  console.log(
    `You are ${address}${onPort()}.${wasOnline ? " (a new session)" : " Write to your peer; /cut tears the connection."}`,
  );
  wasOnline = true;
  failures = 0;
  sendWaiting();
});
xmpp.streamManagement.on("resumed", () => {
  failures = 0;
  console.log(`Back: the session was resumed${onPort()}.`);
  setImmediate(sendWaiting); // the library is about to say that it is online
});
xmpp.streamManagement.on("fail", (stanza) => {
  const body = !leaving && stanza.getChildText("body");
  if (body) console.log(`The session is lost, and nobody has confirmed: ${body}`);
});
xmpp.on("disconnect", () => {
  ready = false;
  if (wasOnline && failures === 0 && !leaving) console.log("The connection is gone; back in a moment …");
  failures++;
  ports.push(ports.shift());
  xmpp.options.service = serviceAt(ports[0]); // the library is about to try again
});
xmpp.on("error", (error) => {
  if (wasOnline ? failures < MAX_ATTEMPTS : error.code === "ECONNREFUSED" && failures < ports.length - 1) return;
  console.error(hint(error));
  process.exit(1);
});

function serviceAt(port) {
  return `xmpp://${values.host}:${port}`;
}

function onPort() {
  return ports.length > 1 ? ` on port ${ports[0]}` : "";
}

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
  if (wasOnline) return `${me} does not come back: ${error.message || error.name}`;
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
  (xmpp.socket?.socket ?? xmpp.socket)?.destroy();
}

async function quit() {
  leaving = true;
  if (xmpp.status === "online") await xmpp.stop().catch(() => {});
  process.exit(0);
}

process.once("SIGINT", quit);
await xmpp.start().catch(() => {}); // "error" has told it
