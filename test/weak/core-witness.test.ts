// The witness itself: who it blames for messages out of order.
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { CoreWitness } from "../support/core-witness.ts";
import { until } from "../support/wire.ts";

const BOB = "bob@localhost";
const message = (n: number, quote = "'") =>
  `<message type=${quote}chat${quote} id='n${n}' to=${quote}${BOB}/phone${quote}><delay/><body>run ${n} xxx</body></message>`;

async function between(t: { after(run: () => unknown): void }) {
  const cores: Socket[] = [];
  const server = createServer((socket) => void cores.push(socket)).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const witness = await CoreWitness.listen({ port: (server.address() as AddressInfo).port });
  t.after(() => witness.close());
  /** A new connection: what its two ends say, and wait until the other has. */
  const link = async () => {
    const edge = connect(witness.links.port, "127.0.0.1");
    const count = cores.length;
    await until(() => cores.length > count, "the core has accepted");
    const says = (from: Socket, to: Socket) => async (text: string) => {
      let heard = "";
      const hear = (chunk: Buffer) => {
        heard += chunk;
      };
      to.on("data", hear);
      for (let at = 0; at < text.length; at += 7) {
        from.write(text.slice(at, at + 7));
        await new Promise(setImmediate);
      }
      await until(() => heard === text, "all has arrived");
      to.off("data", hear);
    };
    return { edgeSays: says(edge, cores[count]!), coreSays: says(cores[count]!, edge) };
  };
  return { witness, link };
}

test("messages that the core sends in another order than it got them are its own doing", async (t) => {
  const { witness, link } = await between(t);
  const { edgeSays, coreSays } = await link();
  await edgeSays(message(1) + message(2) + message(3, '"'));
  await coreSays(message(1) + message(3) + message(2, '"'));
  assert.ok(witness.saw(BOB, "run", 3, 2));
  assert.ok(!witness.saw(BOB, "run", 2, 3));
  assert.ok(!witness.saw(BOB, "run", 3, 4), "4 never came");
  assert.ok(!witness.saw(BOB, "other", 3, 2));
  assert.ok(!witness.saw("alice@localhost", "run", 3, 2));
  assert.deepEqual(witness.misled, []);
});

test("a message that the core sent in time and sends again behind others, on a new connection, is not the core's doing", async (t) => {
  const { witness, link } = await between(t);
  await (await link()).coreSays(message(1) + message(2) + message(3));
  await (await link()).coreSays(`${message(3)}${message(2)}`);
  assert.ok(!witness.saw(BOB, "run", 3, 2));
});

test("messages that an edge gives to the core out of order are told, also if the core got them in order elsewhere", async (t) => {
  const { witness, link } = await between(t);
  await (await link()).edgeSays(message(1) + message(2) + message(3));
  await (await link()).edgeSays(message(2) + message(3));
  assert.deepEqual(witness.misled, []);
  await (await link()).edgeSays(message(3) + message(2));
  assert.deepEqual(witness.misled, [`2 after 3 to ${BOB} run`]);
});

test("bounced messages and those without a number are no witness's business", async (t) => {
  const { witness, link } = await between(t);
  const { coreSays } = await link();
  await coreSays(`<message to='${BOB}'><composing/></message><presence to='${BOB}'/>${message(2)}`);
  await coreSays(message(1).replace("'chat'", "'error'"));
  assert.ok(!witness.saw(BOB, "run", 2, 1));
});
