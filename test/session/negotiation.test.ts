import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { RawClient } from "../support/clients/raw-client.ts";
import type { FakeStream } from "../support/fake-core.ts";
import { until, Wire } from "../support/wire.ts";

const SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
const TLS = "urn:ietf:params:xml:ns:xmpp-tls";
const base64 = (text: string) => Buffer.from(text).toString("base64");
const AUTH = `<auth xmlns='${SASL}' mechanism='PLAIN'>${base64("\0alice\0pw")}</auth>`;
const BIND =
  "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>phone</resource></bind></iq>";
const header = (
  attributes: string,
  namespaces = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'",
) => `<stream:stream ${namespaces} ${attributes}>`;
const V1 = "version='1.0' to='localhost'";

/** A handler that does this and nothing else. */
function failing(fail: (stream: FakeStream) => void): (stream: FakeStream) => boolean {
  return (stream) => {
    fail(stream);
    return true;
  };
}

/** The client was refused: an opening tag, this stream error, an end tag. */
async function refusedWith(client: RawClient, condition: string): Promise<void> {
  const error = await client.take(({ name }) => name === "error", `the stream error ${condition}`);
  assert.equal(error.ns, "http://etherx.jabber.org/streams");
  assert.ok(error.child(condition, "urn:ietf:params:xml:ns:xmpp-streams"), error.xml);
  assert.ok(client.header, "an opening tag came first");
  assert.equal(await client.closed, "stream-end");
}

describe("before encryption", () => {
  for (const [what, bytes] of [
    ["SASL", AUTH],
    ["an iq", BIND],
    ["a message", "<message to='bob@localhost'/>"],
    ["resume", "<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>"],
    ["compress", "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>"],
    ["another element of STARTTLS", `<proceed xmlns='${TLS}'/>`],
    ["starttls in another namespace", "<starttls xmlns='urn:example'/>"],
    ["SASL behind starttls in one write", `<x/><starttls xmlns='${TLS}'/>`],
  ] as const) {
    test(`${what} is refused, and the core hears nothing of it`, async (t) => {
      const wire = await Wire.start(t);
      const client = await wire.connect({ port: wire.edge.starttls, tls: "none" });
      const features = await client.open();
      assert.deepEqual(
        features.elements.map(({ name }) => name),
        ["starttls"],
      );
      assert.ok(features.child("starttls", TLS)!.child("required"));
      client.write(bytes);
      await refusedWith(client, "policy-violation");
      assert.equal(wire.core.streams.length, 0);
    });
  }

  for (const [what, behind] of [
    ["a stanza", "<presence/>"],
    ["a new stream", `<?xml version='1.0'?>${header(V1)}`],
    ["one byte", "<"],
    ["SASL", AUTH],
  ] as const) {
    test(`${what} in the same write as starttls is never read as encrypted: the stream ends`, async (t) => {
      const wire = await Wire.start(t);
      const client = await wire.connect({ port: wire.edge.starttls, tls: "none" });
      await client.open();
      client.write(`<starttls xmlns='${TLS}'/>${behind}`);
      await refusedWith(client, "policy-violation");
      assert.equal(wire.core.streams.length, 0);
    });
  }

  test("plain bytes that come before the handshake end the connection and reach nobody", async (t) => {
    const wire = await Wire.start(t);
    const client = await wire.connect({ port: wire.edge.starttls, tls: "none" });
    await client.open();
    client.write(`<starttls xmlns='${TLS}'/>`);
    assert.equal((await client.next()).name, "proceed");
    client.write(`${header(V1)}${AUTH}${BIND}`);
    await client.closed;
    assert.equal(wire.core.streams.length, 0);
  });

  test("after STARTTLS a second starttls is refused, and login works on the encrypted stream without it", async (t) => {
    const wire = await Wire.start(t);
    for (const again of [true, false]) {
      const client = await wire.connect({ port: wire.edge.starttls, tls: "starttls", ca: wire.edge.ca });
      await client.open();
      await client.startTls();
      assert.doesNotMatch(client.features!.xml, /starttls/);
      if (again) {
        client.write(`<starttls xmlns='${TLS}'/>`);
        await refusedWith(client, "unsupported-stanza-type");
      } else await client.authenticate({ user: "alice", password: "pw" });
    }
  });
});

describe("the stream header", () => {
  for (const [what, text, condition] of [
    ["a domain that is not served", header("version='1.0' to='other.example'"), "host-unknown"],
    ["no version", header("to='localhost'"), "unsupported-version"],
    ["version 0.9", header("version='0.9' to='localhost'"), "unsupported-version"],
    [
      "another default namespace",
      header(V1, "xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'"),
      "invalid-namespace",
    ],
    ["no default namespace", header(V1, "xmlns:stream='http://etherx.jabber.org/streams'"), "invalid-namespace"],
    ["another stream namespace", header(V1, "xmlns='jabber:client' xmlns:stream='urn:example'"), "invalid-namespace"],
    [
      "another name",
      `<stream:flow xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' ${V1}>`,
      "bad-format",
    ],
    [
      "another prefix",
      `<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' ${V1}>`,
      "bad-namespace-prefix",
    ],
    ["an undeclared prefix", `<stream:stream xmlns='jabber:client' ${V1}>`, "not-well-formed"],
    ["a stanza in its place", "<presence/>", "invalid-namespace"],
    ["text", "GET / HTTP/1.1\r\n\r\n", "not-well-formed"],
    ["a doctype", `<!DOCTYPE x>${header(V1)}`, "restricted-xml"],
    ["a processing instruction", `<?php x?>${header(V1)}`, "restricted-xml"],
    ["another encoding", `<?xml version='1.0' encoding='iso-8859-1'?>${header(V1)}`, "unsupported-encoding"],
    ["an attribute twice", header(`${V1} id='1' id='2'`), "not-well-formed"],
    ["an endless tag", `<stream:stream ${"x".repeat(20_000)}`, "policy-violation"],
    ["endless space", " ".repeat(20_000), "policy-violation"],
  ] as const) {
    test(`with ${what} is answered ${condition}, behind an opening tag, and no core hears of it`, async (t) => {
      const wire = await Wire.start(t);
      const client = await wire.connect();
      client.write(text);
      await refusedWith(client, condition);
      assert.equal(wire.core.streams.length, 0);
    });
  }

  test("version 1.1 and 01.0 are taken, and so is a domain in capitals or with a final dot", async (t) => {
    const wire = await Wire.start(t);
    for (const attributes of [
      "version='1.1' to='localhost'",
      "version='01.0' to='LOCALHOST'",
      "version='1.0' to='localhost.'",
    ]) {
      const client = await wire.connect();
      client.write(header(attributes));
      assert.equal((await client.next()).name, "features");
    }
  });

  test("all its attributes and namespace declarations reach the core as they were written, before and after login", async (t) => {
    const wire = await Wire.start(t);
    const headerAttributes = `xml:lang='de-AT' from="alice@localhost"\n  id='x&amp;y' xmlns:e='urn:example:é' e:extra='1'`;
    const { client, core } = await wire.authenticated({ headerAttributes });
    assert.equal(core.headers.length, 2);
    assert.deepEqual(core.headers[0], core.headers[1]);
    assert.equal(core.headers[0]!["xml:lang"], "de-AT");
    assert.equal(core.headers[0]!["id"], "x&y");
    assert.equal(core.raw.split(headerAttributes).length, 3);
    await client.bind();
  });

  test("without `to` the only domain is meant, and of several the one in SNI", async (t) => {
    const wire = await Wire.start(t);
    const only = await wire.connect();
    only.write(header("version='1.0'"));
    assert.equal((await only.next()).name, "features");
    const several = await Wire.start(t, { domains: ["localhost", "other.example"] });
    const unsaid = await several.connect();
    unsaid.write(header("version='1.0'"));
    await refusedWith(unsaid, "host-unknown");
    const direct = { port: several.edge.tls, tls: "direct", ca: several.edge.ca } as const;
    const named = await several.connect({ ...direct, domain: "other.example" });
    named.write(header("version='1.0'"));
    assert.equal((await named.next()).name, "features");
    const silent = await several.connect({ ...direct, servername: null });
    silent.write(header("version='1.0'"));
    await refusedWith(silent, "host-unknown");
    const other = await several.connect({ ...direct, domain: "other.example" });
    other.write(header("version='1.0' to='localhost'"));
    assert.equal((await other.next()).name, "features");
    await until(() => several.core.streams.some(({ headers }) => headers[0]?.["to"] === "localhost"), "`to` wins");
  });

  test("a domain that changes after the login is refused", async (t) => {
    const wire = await Wire.start(t, { domains: ["localhost", "other.example"] });
    const { client } = await wire.opened();
    await client.authenticate({ user: "alice", password: "pw" });
    client.header = null;
    client.write("");
    await assert.rejects(async () => {
      client.options.domain = "other.example";
      (client as { domain: string }).domain = "other.example";
      await client.open();
    }, /host-unknown/);
  });

  test("a second opening tag inside a stream ends it, in every phase", async (t) => {
    const wire = await Wire.start(t);
    for (const start of [wire.opened, wire.authenticated, wire.login]) {
      const { client } = await start.call(wire);
      client.write(`${header(V1)}</stream:stream>`);
      await client.take(({ name }) => name === "error", "a stream error");
      assert.equal(await client.closed, "stream-end");
    }
  });
});

describe("what a client pipelines is taken in order", () => {
  for (const [what, chunk] of [
    ["in one write", Number.POSITIVE_INFINITY],
    ["byte by byte", 1],
    ["in pieces of seven bytes", 7],
  ] as const) {
    test(`header, auth, header, bind, enable and stanzas ${what}`, async (t) => {
      const wire = await Wire.start(t);
      const client = await wire.connect();
      const all = Buffer.from(
        `<?xml version='1.0'?>${header(V1)}${AUTH}<?xml version='1.0'?>${header(V1)}${BIND}` +
          `<enable xmlns='urn:xmpp:sm:3' resume='true'/><presence/><message to='bob@localhost' id='m'/><r xmlns='urn:xmpp:sm:3'/>`,
      );
      let got = "";
      client.onBytes = (bytes) => (got += bytes.toString());
      for (let i = 0; i < all.length; i += chunk) client.write(all.subarray(i, Math.min(all.length, i + chunk)));
      await until(() => got.includes("<a "), "everything is answered");
      const order = [
        "<mechanisms",
        "<success",
        "<stream:stream",
        "bind",
        "<jid>alice@localhost/phone",
        "<enabled",
        "h='2'",
      ];
      let at = 0;
      for (const part of order) {
        at = got.indexOf(part, at);
        assert.ok(at >= 0, `${part} in ${got}`);
      }
    });
  }

  test("a response, header, bind and enable in one write (XEP-0305 style), with a core that takes its time", async (t) => {
    const wire = await Wire.start(t);
    wire.core.script.onElement = (stream, { name }) => {
      if (name === "auth") stream.write(`<challenge xmlns='${SASL}'>${base64("r=x,s=eA==,i=1")}</challenge>`);
      if (name === "response") setTimeout(() => stream.succeed("alice", base64("v=x")), 30);
      return name === "auth" || name === "response";
    };
    wire.core.script.onHeader = (stream) => {
      setTimeout(() => stream.answerHeader(), 30);
      return true;
    };
    const { client } = await wire.opened();
    client.write(`<auth xmlns='${SASL}' mechanism='SCRAM-SHA-1'>${base64("n,,n=alice,r=x")}</auth>`);
    assert.equal((await client.next()).name, "challenge");
    let got = "";
    client.onBytes = (bytes) => (got += bytes.toString());
    client.write(
      `<response xmlns='${SASL}'>${base64("c=biws,r=x,p=x")}</response>${header(V1)}${BIND}<enable xmlns='urn:xmpp:sm:3' resume='true'/>`,
    );
    await until(() => got.includes("<enabled "), "it is enabled");
    assert.match(
      got,
      /^<success [^>]*>dj14<\/success><\?xml version='1\.0'\?><stream:stream .*<jid>alice@localhost\/phone<\/jid>.*<enabled /s,
    );
  });

  test("what comes behind a failed login is not taken for a new stream", async (t) => {
    const wire = await Wire.start(t);
    const { client, core } = await wire.opened();
    client.write(`<auth xmlns='${SASL}' mechanism='PLAIN'>${base64("\0alice\0wrong")}</auth>${BIND}<presence/>`);
    assert.equal((await client.next()).name, "failure");
    await client.expect(/not-authorized.*xmpp-streams|<stream:error/);
    assert.ok(!core.elements.some(({ name }) => name === "presence"));
  });
});

describe("SASL", () => {
  test("a failure passes with its text, and another attempt on the same stream succeeds", async (t) => {
    const wire = await Wire.start(t);
    const { client } = await wire.opened();
    client.write(`<auth xmlns='${SASL}' mechanism='PLAIN'>${base64("\0alice\0wrong")}</auth>`);
    assert.equal(
      (await client.next()).xml,
      `<failure xmlns='${SASL}'><not-authorized/><text xml:lang='en'>Invalid username or password</text></failure>`,
    );
    await client.authenticate({ user: "alice", password: "pw" });
    await client.open();
    await client.bind();
  });

  test("challenges, responses, abort and success data pass as they are", async (t) => {
    const wire = await Wire.start(t);
    wire.core.script.onElement = (stream, { name }) => {
      if (name === "auth") stream.write(`<challenge xmlns='${SASL}' x='1'>Y2g=</challenge>`);
      if (name === "response") stream.succeed("alice", "b2s=");
      return name === "auth" || name === "response";
    };
    const { client, core } = await wire.opened();
    client.write(`<auth xmlns="${SASL}" mechanism='SCRAM-SHA-1' xml:lang='de'>bixuPWE=</auth>`);
    assert.equal((await client.next()).xml, `<challenge xmlns='${SASL}' x='1'>Y2g=</challenge>`);
    client.write(`<abort xmlns='${SASL}'/>`);
    assert.equal((await client.next()).xml, `<failure xmlns='${SASL}'><aborted/></failure>`);
    client.write(`<auth xmlns='${SASL}' mechanism='SCRAM-SHA-1'/>`);
    await client.next();
    client.write(`<response xmlns='${SASL}'>\n cmU=</response>`);
    assert.equal((await client.next()).xml, `<success xmlns='${SASL}'>b2s=</success>`);
    assert.ok(core.raw.includes(`<auth xmlns="${SASL}" mechanism='SCRAM-SHA-1' xml:lang='de'>bixuPWE=</auth>`));
    assert.ok(core.raw.includes(`<response xmlns='${SASL}'>\n cmU=</response>`));
  });

  test("after login, and after bind, SASL ends the stream", async (t) => {
    const wire = await Wire.start(t);
    for (const start of [wire.authenticated, wire.login]) {
      const { client, core } = await start.call(wire);
      client.write(AUTH);
      await client.take(({ name }) => name === "error", "a stream error");
      assert.equal(await client.closed, "stream-end");
      assert.equal(core.elements.filter(({ name }) => name === "auth").length, 1);
    }
  });

  test("stanzas before login are refused, except requests to the core itself, such as registration", async (t) => {
    const wire = await Wire.start(t);
    const { client, core } = await wire.opened();
    await client.request("<iq type='get' id='reg' to='localhost'><query xmlns='jabber:iq:register'/></iq>");
    await core.expect(/jabber:iq:register/);
    client.write("<message to='bob@localhost'><body>too early</body></message>");
    await refusedWith(client, "not-authorized");
    assert.doesNotMatch(core.raw, /too early/);
  });

  test("compression is refused with setup-failed, before login and after bind, and nothing ends", async (t) => {
    const wire = await Wire.start(t);
    for (const start of [wire.opened, wire.login]) {
      const { client, core } = await start.call(wire);
      client.write("<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>");
      assert.ok((await client.next()).child("setup-failed", "http://jabber.org/protocol/compress"));
      await client.request("<iq type='get' id='after' to='localhost'><query xmlns='x'/></iq>");
      assert.doesNotMatch(core.raw, /compress/);
    }
  });

  test("a resource that the core refuses can be asked for again, and a bound one comes with the core's own choice", async (t) => {
    const wire = await Wire.start(t);
    const { client } = await wire.authenticated();
    wire.core.script.onElement = (stream, element) => {
      if (!element.child("bind")) return false;
      wire.core.script.onElement = null;
      stream.write(
        `<iq type='error' id='${element.attrs["id"]}'><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`,
      );
      return true;
    };
    await assert.rejects(client.bind("taken"), /conflict/);
    assert.equal(await client.bind(), "alice@localhost/fake");
    await client.fence();
  });
});

describe("limits", () => {
  test("before login a client may send little, after it more", async (t) => {
    const config = "limits: { before_login: { max_bytes: 8192 }, after_login: { max_bytes: 60000 } }";
    const wire = await Wire.start(t, { config });
    const early = await wire.opened();
    early.client.write(`<auth xmlns='${SASL}' mechanism='PLAIN'>${"A".repeat(9000)}</auth>`);
    await refusedWith(early.client, "policy-violation");
    const { client, core } = await wire.login();
    client.message("bob@localhost", "y".repeat(50_000));
    await core.expect(/yyyy/);
    client.message("bob@localhost", "z".repeat(60_000));
    await refusedWith(client, "policy-violation");
    assert.doesNotMatch(core.raw, /zzzz/);
  });

  for (const [what, go, reason, condition] of [
    ["says nothing", async (wire: Wire) => wire.connect(), "open-timeout", "connection-timeout"],
    ["does not log in", async (wire: Wire) => (await wire.opened()).client, "login-timeout", "connection-timeout"],
    ["does not bind", async (wire: Wire) => (await wire.authenticated()).client, "login-timeout", "connection-timeout"],
  ] as const) {
    test(`a client that ${what} is sent away in time, with a reason`, async (t) => {
      const wire = await Wire.start(t, { turned: true, config: "session: { open_timeout: 10, login_timeout: 60 }" });
      const before = await wire.edge.metric("breakwater_connections_refused_total", { reason });
      const client = await go(wire);
      await until(() => {
        wire.clock.advance({ seconds: 20 });
        return client.inbox.items.length > 0;
      }, "it is sent away");
      await refusedWith(client, condition);
      assert.equal(await wire.edge.metric("breakwater_connections_refused_total", { reason }), before + 1);
      for (const stream of wire.core.streams) await stream.ended;
    });
  }
});

describe("a core that fails during a login: its client gets a stream error behind an opening tag", () => {
  const steps: readonly [string, (wire: Wire, fail: (stream: FakeStream) => void) => Promise<RawClient>][] = [
    [
      "at its header",
      async (wire, fail) => {
        wire.core.script.onHeader = failing(fail);
        const client = await wire.connect();
        client.write(header(V1));
        return client;
      },
    ],
    [
      "between header and features",
      async (wire, fail) => {
        wire.core.script.onHeader = (stream) => {
          stream.write(stream.header());
          setImmediate(fail, stream);
          return true;
        };
        const client = await wire.connect();
        client.write(header(V1));
        return client;
      },
    ],
    [
      "at auth",
      async (wire, fail) => {
        wire.core.script.onElement = failing(fail);
        const { client } = await wire.opened();
        client.write(AUTH);
        return client;
      },
    ],
    [
      "between success and its new header",
      async (wire, fail) => {
        const { client } = await wire.opened();
        await client.authenticate({ user: "alice", password: "pw" });
        wire.core.script.onHeader = failing(fail);
        client.header = null;
        client.open().catch(() => {});
        return client;
      },
    ],
    [
      "at bind",
      async (wire, fail) => {
        const { client } = await wire.authenticated();
        wire.core.script.onElement = failing(fail);
        client.write(BIND);
        return client;
      },
    ],
  ];
  for (const [step, go] of steps) {
    for (const [what, fail] of [
      ["resets", (stream: FakeStream) => stream.cut()],
      ["closes", (stream: FakeStream) => stream.fin()],
      ["sends garbage", (stream: FakeStream) => stream.write("\x00\x01garbage<<<>")],
    ] as const) {
      test(`${what} ${step}`, async (t) => {
        const wire = await Wire.start(t);
        const bystander = await wire.managed({ user: "bob" });
        const client = await go(wire, fail);
        const error = await client
          .take(({ name }) => name === "error", "a stream error")
          .catch(async (missing) => {
            throw new Error(`${missing.message} (${await client.closed})`);
          });
        const condition = error.elements[0]!.name;
        assert.ok(
          ["system-shutdown", "internal-server-error", "remote-connection-failed"].includes(condition),
          condition,
        );
        assert.ok(client.header);
        assert.equal(await client.closed, "stream-end");
        wire.core.script.onElement = wire.core.script.onHeader = null;
        await bystander.client.fence();
      });
    }
  }

  test("a core that cannot be reached: remote-connection-failed", async (t) => {
    const wire = await Wire.start(t);
    await wire.core.close();
    const client = await wire.connect();
    client.write(header(V1));
    await refusedWith(client, "remote-connection-failed");
  });

  test("a core that closes its stream without a word: remote-connection-failed", async (t) => {
    const wire = await Wire.start(t);
    wire.core.script.onHeader = (stream) => {
      stream.write(`${stream.header()}</stream:stream>`);
      return true;
    };
    const client = await wire.connect();
    client.write(header(V1));
    await refusedWith(client, "remote-connection-failed");
  });

  test("a core that hangs: connection-timeout", async (t) => {
    const wire = await Wire.start(t, { turned: true });
    wire.core.script.mute = true;
    const client = await wire.connect();
    client.write(header(V1));
    const stream = await wire.core.nextStream();
    await until(() => stream.raw.includes("<stream:stream"), "the core has the header");
    wire.clock.advance({ seconds: 61 });
    await refusedWith(client, "connection-timeout");
    wire.clock.advance({ seconds: 10 });
    await stream.ended;
  });

  test("a core that does not serve the domain: its own host-unknown passes", async (t) => {
    const wire = await Wire.start(t);
    wire.core.script.onHeader = (stream) => {
      stream.write(stream.header());
      stream.error("host-unknown");
      return true;
    };
    const client = await wire.connect();
    client.write(header(V1));
    await refusedWith(client, "host-unknown");
  });

  test("a core whose answers come byte by byte is understood", async (t) => {
    const wire = await Wire.start(t);
    const write = (stream: FakeStream, text: string) => {
      for (const byte of Buffer.from(text)) stream.socket.write(Buffer.of(byte));
    };
    wire.core.script.onHeader = (stream) => {
      write(stream, stream.header() + stream.features());
      return true;
    };
    const { client, core } = await wire.managed();
    write(core, "<message from='bob@localhost'><body>🦋</body></message>");
    await client.expect(/🦋/);
  });
});

test("what a core must not do, in every step, ends that one client at most", async (t) => {
  const wire = await Wire.start(t);
  const bystander = await wire.managed({ user: "bob" });
  const noise = [
    "<stream:features/>",
    `<success xmlns='${SASL}'/>`,
    `<challenge xmlns='${SASL}'/>`,
    "<iq type='result' id='bind'/>",
    "<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid></jid></bind></iq>",
    "<message/>",
    "<r xmlns='urn:xmpp:sm:3'/>",
    "<a xmlns='urn:xmpp:sm:3'/>",
    "<a xmlns='urn:xmpp:sm:3' h='-1'/>",
    "<enabled xmlns='urn:xmpp:sm:3'/>",
    "<failed xmlns='urn:xmpp:sm:3'/>",
    "<resumed xmlns='urn:xmpp:sm:3' previd='x' h='1'/>",
    `<proceed xmlns='${TLS}'/>`,
    "<compressed xmlns='http://jabber.org/protocol/compress'/>",
    "<stream:error/>",
    "</stream:stream>",
    "<stream:stream>",
    "text",
    "<x",
  ];
  for (const bytes of noise) {
    for (const start of [wire.opened, wire.authenticated, wire.login, wire.managed]) {
      const { client, core } = await start.call(wire, {});
      core.write(bytes);
      await Promise.race([client.closed, new Promise((resolve) => setTimeout(resolve, 5))]);
      client.drop();
    }
  }
  await bystander.client.fence();
  assert.equal(await wire.edge.metric("breakwater_internal_errors_total"), 0);
  assert.equal(await wire.edge.metric("breakwater_uncaught_errors_total"), 0);
});

test("what a core answers to a goodbye in the middle of a login is nobody's mistake: Prosody begins a stream for it", async (t) => {
  const wire = await Wire.start(t);
  const refused = () => wire.edge.metric("breakwater_core_refused_total");
  const before = await refused();
  const { client, core } = await wire.opened();
  const header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
  core.socket.prependListener("data", () => core.write(`<?xml version='1.0'?>${header}`));
  client.drop();
  await core.ended;
  await until(async () => (await wire.edge.metric("breakwater_core_open_streams")) === 0, "the edge has closed it");
  assert.equal(await refused(), before);
});
