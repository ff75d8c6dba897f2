import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { Random } from "../../support/random.ts";
import { bodies, bosh, message, opening, Pipe, requestHead } from "./peer.ts";

const PIECES = [
  "<",
  ">",
  "/>",
  "</body>",
  "<body",
  "'",
  '"',
  "&amp;",
  "&#0;",
  "<!--",
  "]]>",
  "\0",
  "\xff",
  " ",
  "xmlns='",
];

function mutated(random: Random, text: string): Buffer {
  let bytes = Buffer.from(text, "latin1");
  for (let count = random.integer(1, 4); count > 0; count--) {
    const at = random.integer(0, bytes.length);
    const until = Math.min(bytes.length, at + random.integer(0, 12));
    const [before, middle, after] = [bytes.subarray(0, at), bytes.subarray(at, until), bytes.subarray(until)];
    const piece = Buffer.from(random.pick(PIECES), "latin1");
    bytes = Buffer.concat(
      random.pick([
        [before, after],
        [before, piece, middle, after],
        [before, middle, middle, after],
        [before, Buffer.from([random.integer(0, 255)]), after],
        [before],
      ]),
    );
  }
  return bytes;
}

for (const seed of [7, Math.floor(Math.random() * 2 ** 31)]) {
  test(`bodies with mistakes harm nobody but who sends them (seed ${seed})`, async (t) => {
    const random = new Random(seed);
    const { wire, login, client: anybody } = await bosh(t);
    const { client: other, core: others } = await login({ user: "bob" });
    let sent = 0;
    let { client } = await login();
    for (let i = 0; i < 500; i++) {
      const valid = random.chance(0.2)
        ? opening(random.integer(1, 1e9))
        : client.request(
            client.rid + 1,
            random.pick([
              message("x"),
              "<presence/>",
              "<iq type='get' id='1'><x:y xmlns:x='urn:x'>&lt;</x:y></iq>",
              "",
            ]),
            random.pick([{}, { pause: "5" }, { key: "x" }, { "xmlns:x": "urn:x", "x:restart": "true" }, { ack: "1" }]),
          );
      const body = mutated(random, valid);
      const pipe = new Pipe(wire.edge.http);
      const answer = random.chance(0.1)
        ? pipe.send(gzipSync(body), { "Content-Encoding": "gzip" })
        : random.chance(0.1)
          ? pipe.write(Buffer.concat([Buffer.from(requestHead(body.length + random.integer(-3, 3))), body]))
          : pipe.send(body);
      const soon = new Promise((resolve) => pipe.socket.write("", resolve));
      await Promise.race([answer.catch(() => {}), soon.then(() => wire.edge.metrics())]);
      pipe.drop();
      if (i % 25 !== 0) continue;
      const asked = other.post(message(`m${sent}`));
      await others.expect(new RegExp(`>m${sent}<`));
      others.message(`r${sent}`);
      assert.deepEqual(bodies(await asked), [`r${sent++}`]);
      ({ client } = await login());
    }
    assert.equal(others.stanzas.length, sent);
    assert.equal(await wire.edge.metric("breakwater_internal_errors_total"), 0);
    assert.match((await anybody().open()).text, /<mechanisms/);
  });
}
