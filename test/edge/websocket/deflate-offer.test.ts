import assert from "node:assert/strict";
import { test } from "node:test";
import { acceptOffer } from "../../../src/edge/websocket/deflate-offer.ts";

const NO_TAKEOVER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

for (const [offer, answer, windowBits] of [
  ["permessage-deflate", NO_TAKEOVER, 15],
  ["permessage-deflate; client_max_window_bits", NO_TAKEOVER, 15], // Chromium, Firefox, ws
  ["permessage-deflate;client_max_window_bits=9;client_no_context_takeover", NO_TAKEOVER, 15],
  ["permessage-deflate; server_no_context_takeover", NO_TAKEOVER, 15],
  ["permessage-deflate; server_max_window_bits=9", `${NO_TAKEOVER}; server_max_window_bits=9`, 9],
  ['permessage-deflate; server_max_window_bits="12"', `${NO_TAKEOVER}; server_max_window_bits=12`, 12],
  ["permessage-deflate; server_max_window_bits=15", `${NO_TAKEOVER}; server_max_window_bits=15`, 15],
  ["x-webkit-deflate-frame, permessage-deflate", NO_TAKEOVER, 15],
  ["permessage-bzip2; level=9, permessage-deflate", NO_TAKEOVER, 15],
  [" ,, permessage-deflate ,", NO_TAKEOVER, 15],
  // The first that can be met.
  [
    "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10, permessage-deflate",
    `${NO_TAKEOVER}; server_max_window_bits=10`,
    10,
  ],
  ["permessage-deflate; unknown, permessage-deflate", NO_TAKEOVER, 15],
] as const) {
  test(`the offer ${offer} is accepted`, () => {
    assert.deepEqual(acceptOffer(offer), { answer, windowBits });
  });
}

for (const offer of [
  undefined,
  "",
  "x-webkit-deflate-frame",
  "permessage-deflate; server_max_window_bits=8", // legal, but zlib has no such window
  "permessage-deflate; server_max_window_bits",
  "permessage-deflate; server_max_window_bits=7",
  "permessage-deflate; server_max_window_bits=16",
  "permessage-deflate; server_max_window_bits=010",
  "permessage-deflate; server_max_window_bits=1e1",
  "permessage-deflate; client_max_window_bits=16",
  "permessage-deflate; client_max_window_bits=x",
  "permessage-deflate; client_no_context_takeover=1",
  "permessage-deflate; server_no_context_takeover=true",
  "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
  "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
  "permessage-deflate; takeover",
]) {
  test(`the offer ${offer} is declined`, () => assert.equal(acceptOffer(offer), null));
}

for (const header of [
  "permessage deflate",
  "permessage-deflate;",
  "permessage-deflate; =9",
  "permessage-deflate; server_max_window_bits=",
  'permessage-deflate; server_max_window_bits="9',
  'permessage-deflate; server_max_window_bits="9,"',
  "; server_no_context_takeover",
  "permessage-deflate, (x)",
]) {
  test(`the header ${header} is malformed (RFC 6455 §9.1)`, () => assert.equal(acceptOffer(header), "malformed"));
}
