import assert from "node:assert/strict";
import { test } from "node:test";
import type { FakeStream } from "../../support/fake-core.ts";
import { Random } from "../../support/random.ts";
import { until } from "../../support/wire.ts";
import { bodies, bosh, message, Pipe, requestHead } from "./peer.ts";

/** Where a client's connection breaks, seen from one request. */
const CUTS = ["inside the request", "behind the request", "once the core has it", "once it is answered"] as const;

for (const cut of CUTS) {
  test(`a connection that breaks ${cut} costs nothing: the repeated request gets everything once`, async (t) => {
    const { wire, login } = await bosh(t);
    const { client, core } = await login();
    const written = () => wire.edge.metric("breakwater_link_bytes_total", { direction: "to_client" });
    const texts: string[] = [];
    for (let i = 0; i < 5; i++) {
      const body = client.request(++client.rid, message(`c${i}`));
      const pipe = new Pipe(wire.edge.http);
      const before = await written();
      if (cut === "inside the request") {
        const request = `${requestHead(body.length)}${body}`;
        await new Promise((resolve) => pipe.socket.write(request.slice(0, -20), resolve));
      } else {
        void pipe.send(body);
        if (cut === "behind the request") await new Promise((resolve) => pipe.socket.write("", resolve));
        else await core.expect(new RegExp(`>c${i}<`));
      }
      if (cut === "once it is answered") {
        pipe.socket.pause();
        core.message(`s${i}`);
        await until(async () => (await written()) > before, "the answer has left");
      }
      pipe.drop();
      if (cut !== "once it is answered") core.message(`s${i}`);
      for (;;) {
        const answer = await client.channel.send(body);
        if (answer.text.includes("type='error'")) continue;
        texts.push(...bodies(answer));
        break;
      }
    }
    // What came too late for one answer goes with the next.
    while (texts.length < 5) texts.push(...bodies(await client.post(message("more"))));
    assert.deepEqual(texts, ["s0", "s1", "s2", "s3", "s4"]);
    assert.deepEqual(
      textsAt(core).filter((text) => text !== "more"),
      ["c0", "c1", "c2", "c3", "c4"],
    );
  });
}

function textsAt(core: FakeStream): string[] {
  return core.stanzas.map((xml) => /<body>(.*)<\/body>/.exec(xml)![1]!);
}

const MESSAGES = 150;

for (const seed of [1, 2, 3, Math.floor(Math.random() * 2 ** 31)]) {
  for (const ack of [false, true]) {
    test(`over connections that break at random nothing is lost, doubled or reordered (seed ${seed}${ack ? ", ack" : ""})`, async (t) => {
      const random = new Random(seed);
      const { wire, login } = await bosh(t);
      const { client, core } = await login({ attributes: ack ? { ack: "1" } : {} });
      const got: string[] = [];
      let done = false;
      t.after(() => {
        done = true;
      });
      let fromCore = 0;
      let fromClient = 0;
      const feed = (): void => {
        for (let i = random.integer(0, 3); i > 0 && fromCore < MESSAGES; i--) core.message(`s${fromCore++}`);
      };
      /** One request until it is answered; answers are taken in the order of the requests. */
      const ask = async (rid: number, payload: string): Promise<string[]> => {
        const body = client.request(rid, payload, ack ? { ack: String(answeredTo) } : {});
        while (!done) {
          const pipe = new Pipe(wire.edge.http);
          const answer = pipe.send(body).then(
            ({ text }) => text,
            () => null,
          );
          if (random.chance(0.35)) {
            const turns = random.integer(0, 12);
            for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
            pipe.drop();
          }
          const text = await answer;
          pipe.drop();
          if (done || text === null || text.includes("type='error'")) continue;
          assert.doesNotMatch(text, /terminate/);
          return [...text.matchAll(/<body>([^<]*)<\/body>/g)].map((match) => match[1]!);
        }
        return [];
      };
      let answeredTo = client.rid;
      const open: { rid: number; texts: Promise<string[]> }[] = [];
      while (got.length < MESSAGES || fromClient < MESSAGES) {
        while (open.length < 2) {
          const stanzas = Array.from({ length: random.integer(0, 3) }, () =>
            fromClient < MESSAGES ? message(`c${fromClient++}`) : "",
          );
          const rid = ++client.rid;
          open.push({ rid, texts: ask(rid, stanzas.join("") || message("idle")) });
        }
        feed();
        const { rid, texts } = open.shift()!;
        got.push(...(await texts));
        answeredTo = rid;
      }
      done = true;
      await until(() => textsAt(core).filter((text) => text !== "idle").length >= MESSAGES, "the core has all");
      const all = (letter: string) => Array.from({ length: MESSAGES }, (_, i) => `${letter}${i}`);
      assert.deepEqual(got, all("s"));
      assert.deepEqual(
        textsAt(core).filter((text) => text !== "idle"),
        all("c"),
      );
    });
  }
}
