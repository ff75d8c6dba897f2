import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Store } from "../../src/session/stanza-store.ts";
import { MemoryStore } from "../../src/store/memory-store.ts";
import { TurnedClock } from "../support/clock.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";
import { granted, named, openReady, optionsWith, redisOptionsOf, stanza, stanzas, taken, touch } from "./support.ts";

const LIMITS = { max_session_stanzas: 1000, max_session_bytes: 20_000 };

interface Place {
  readonly store: Store;
  readonly pass: (ms: number) => Promise<void>;
}

type Use = (promise: string, run: (place: Place) => Promise<void>, limits?: object) => void;

const inMemory: Use = (promise, run, limits) => {
  test(`memory: ${promise}`, async (t) => {
    const clock = new TurnedClock();
    const store = new MemoryStore(optionsWith({ store: { ...LIMITS, ...limits } }), { clock });
    t.after(() => store.close());
    await run({ store, pass: async (ms) => clock.advance({ ms }) });
  });
};

let server: Promise<RedisServer> | undefined;
after(async () => (await server)?.stop());

const inRedis: Use = (promise, run, limits) => {
  test(`redis: ${promise}`, async (t) => {
    server ??= startRedis();
    const options = redisOptionsOf(await server, { key_prefix: `${t.name.length}:` }, { ...LIMITS, ...limits });
    const { store } = await openReady(t, options);
    await (await server).cli("FLUSHALL");
    const pass = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
    await run({ store, pass });
  });
};

for (const use of [inMemory, inRedis]) {
  use("a session that nobody has claimed is unknown", async ({ store }) => {
    assert.equal(granted(await store.claim(named("a"), "edge-a", 60)).record, null);
  });

  use("a claim answers the record as it stood, and fences the owner before", async ({ store }) => {
    const first = granted(await store.claim(named("a"), "edge-a", 60));
    await store.append(named("a"), first.epoch, 1, stanzas(1, 3), 60);
    const second = granted(await store.claim(named("a"), "edge-b", 60));
    assert.ok(second.epoch > first.epoch);
    assert.equal(second.record?.owner, "edge-a");
    assert.deepEqual(second.record?.stanzas, { first: 1, next: 4 });
    assert.equal(await touch(store, first.epoch), "fenced");
    assert.equal(await store.append(named("a"), first.epoch, 4, stanzas(4, 4), 60), "fenced");
    assert.equal(await store.load(named("a"), first.epoch, 1, 1000), "fenced");
    assert.equal(await store.trim(named("a"), first.epoch, 3), "fenced");
    assert.equal(await store.release(named("a"), first.epoch), "fenced");
    assert.deepEqual(await taken(store, "a"), { owner: "edge-b", stanzas: { first: 1, next: 4 } });
  });

  use("of many that claim at once, exactly one may change it afterwards", async ({ store }) => {
    const claims = await Promise.all(Array.from({ length: 20 }, (_, i) => store.claim(named("a"), `edge-${i}`, 60)));
    const epochs = claims.map((claim) => granted(claim).epoch);
    const saves = await Promise.all(epochs.map((epoch) => touch(store, epoch)));
    assert.deepEqual(
      epochs.filter((_, i) => saves[i] === "stored"),
      [Math.max(...epochs)],
    );
  });

  use("a released session is forgotten, and its next owner still gets a higher epoch", async ({ store }) => {
    const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
    await store.append(named("a"), epoch, 1, stanzas(1, 3), 60);
    assert.equal(await store.release(named("a"), epoch), "released");
    const next = granted(await store.claim(named("a"), "edge-b", 60));
    assert.ok(next.epoch > epoch);
    assert.equal(next.record, null);
    assert.deepEqual(await store.load(named("a"), next.epoch, 1, 1000), { first: 1, stanzas: [], more: false });
  });

  use("an epoch rises even when the clock has gone back", async ({ store }) => {
    await store.claim(named("a"), "edge-a", 60);
    assert.equal(await touch(store, 2 ** 52), "stored");
    const { epoch } = granted(await store.claim(named("a"), "edge-b", 60));
    assert.equal(epoch, 2 ** 52 + 1);
    assert.equal(await touch(store, 2 ** 52), "fenced");
  });

  const expiry = async ({ store, pass }: Place) => {
    const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
    assert.equal(await store.append(named("a"), epoch, 1, stanzas(1, 3), 0.05), "stored");
    while (await store.hasLeft("alice@localhost", "phone", "")) await pass(100);
    await pass(100);
    assert.equal(await store.append(named("a"), epoch, 4, stanzas(4, 4), 60), "lost");
    assert.equal(await store.load(named("a"), epoch, 1, 1000), "lost");
    assert.equal(await store.trim(named("a"), epoch, 1), "lost");
    assert.deepEqual(await store.inherit("alice@localhost", "phone", null, "edge-b"), []);
  };
  const brief = { leftover_time: 0.05 };
  use("without a refresh a session expires, and its stanzas with it after their time", expiry, brief);

  use("what was promised to stay is never shortened", async ({ store, pass }) => {
    const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
    await store.append(named("a"), epoch, 1, stanzas(1, 3), 60);
    const next = granted(await store.claim(named("a"), "edge-b", 0.01));
    assert.equal(await store.append(named("a"), next.epoch, 4, [], 0.01), "stored");
    await pass(100);
    assert.deepEqual(granted(await store.load(named("a"), next.epoch, 1, 1e6)).stanzas, stanzas(1, 3));
  });

  const refresh = async ({ store, pass }: Place) => {
    // A busy machine may need a while for the next two lines.
    const { epoch } = granted(await store.claim(named("a"), "edge-a", 4));
    await store.append(named("a"), epoch, 1, stanzas(1, 3), 4);
    assert.equal(await touch(store, epoch), "stored");
    await pass(4200);
    assert.deepEqual(granted(await store.load(named("a"), epoch, 1, 1000)).stanzas, stanzas(1, 3));
  };
  use("an append of nothing is the refresh, of the stanzas too", refresh, brief);

  use("an append that is repeated, whole or in part, stores each stanza once", async ({ store }) => {
    const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
    assert.equal(await store.append(named("a"), epoch, 7, stanzas(7, 9), 60), "stored");
    assert.equal(await store.append(named("a"), epoch, 7, stanzas(7, 9), 60), "stored");
    assert.equal(await store.append(named("a"), epoch, 8, stanzas(8, 11), 60), "stored");
    assert.equal(await store.append(named("a"), epoch, 10, stanzas(10, 10), 60), "stored");
    assert.deepEqual(await store.load(named("a"), epoch, 7, 1e6), { first: 7, stanzas: stanzas(7, 11), more: false });
  });

  use("stanzas are bytes: any of them come back as they were", async ({ store }) => {
    const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    await store.append(named("a"), epoch, 1, [bytes, Buffer.from("ü\r\n")], 60);
    assert.deepEqual(granted(await store.load(named("a"), epoch, 1, 1000)).stanzas, [bytes, Buffer.from("ü\r\n")]);
  });

  use("an append that leaves a gap is answered lost", async ({ store }) => {
    const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
    await store.append(named("a"), epoch, 1, stanzas(1, 3), 60);
    assert.equal(await store.append(named("a"), epoch, 5, stanzas(5, 5), 60), "lost");
    assert.deepEqual((await taken(store, "a"))?.stanzas, { first: 1, next: 4 });
  });

  use("a full session takes no further stanza, whole batches or nothing, until it is trimmed", async ({ store }) => {
    const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
    const big = Buffer.alloc(9000, "x");
    assert.equal(await store.append(named("a"), epoch, 1, [big, big], 60), "stored");
    assert.equal(await store.append(named("a"), epoch, 3, [stanza(3), big], 60), "full");
    assert.equal(granted(await store.load(named("a"), epoch, 1, 1e6)).stanzas.length, 2);
    assert.equal(await store.append(named("a"), epoch, 1, [big, big], 60), "stored", "what it has already");
    assert.equal(await store.append(named("a"), epoch, 3, [stanza(3)], 60), "stored");
    assert.equal(await store.trim(named("a"), epoch, 1), "trimmed");
    assert.equal(await store.append(named("a"), epoch, 4, [big], 60), "stored");
  });

  use("the bound in stanzas is exact, and a large batch goes in and out in order", async ({ store }) => {
    const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
    const batch = Array.from({ length: 1000 }, (_, i) => Buffer.from(String(i)));
    assert.equal(await store.append(named("a"), epoch, 0, batch, 60), "stored");
    assert.equal(await store.append(named("a"), epoch, 1000, [Buffer.from("x")], 60), "full");
    const loaded = granted(await store.load(named("a"), epoch, 0, 1e6));
    assert.deepEqual(loaded.stanzas.map(String), batch.map(String));
    assert.equal(await store.trim(named("a"), epoch, 249), "trimmed");
    assert.equal(String(granted(await store.load(named("a"), epoch, 0, 1)).stanzas), "250");
  });

  use("a load is cut at its bytes, has one stanza at least and says when there are more", async ({ store }) => {
    const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
    const size = stanza(1).length;
    await store.append(named("a"), epoch, 1, stanzas(1, 5), 60);
    assert.deepEqual(await store.load(named("a"), epoch, 2, 1), { first: 2, stanzas: stanzas(2, 2), more: true });
    assert.deepEqual(await store.load(named("a"), epoch, 2, 2 * size), {
      first: 2,
      stanzas: stanzas(2, 3),
      more: true,
    });
    assert.deepEqual(await store.load(named("a"), epoch, 4, 2 * size), {
      first: 4,
      stanzas: stanzas(4, 5),
      more: false,
    });
    assert.deepEqual(await store.load(named("a"), epoch, 6, 100), { first: 6, stanzas: [], more: false });
  });

  use("a trim forgets exactly what the client has, and numbers go on behind it", async ({ store }) => {
    const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
    assert.equal(await store.trim(named("a"), epoch, 10), "trimmed");
    await store.append(named("a"), epoch, 1, stanzas(1, 5), 60);
    assert.equal(await store.trim(named("a"), epoch, 2), "trimmed");
    assert.equal(await store.trim(named("a"), epoch, 1), "trimmed");
    assert.deepEqual(await store.load(named("a"), epoch, 1, 1e6), { first: 3, stanzas: stanzas(3, 5), more: false });
    assert.equal(await store.trim(named("a"), epoch, 99), "trimmed");
    assert.deepEqual(await store.load(named("a"), epoch, 1, 1e6), { first: 6, stanzas: [], more: false });
    assert.equal(await store.append(named("a"), epoch, 4, stanzas(4, 6), 60), "stored");
    assert.deepEqual(await store.load(named("a"), epoch, 1, 1e6), { first: 6, stanzas: stanzas(6, 6), more: false });
  });

  use("sessions do not touch each other", async ({ store }) => {
    const a = granted(await store.claim(named("a"), "edge-a", 60));
    const b = granted(await store.claim(named("b"), "edge-b", 60));
    await store.append(named("a"), a.epoch, 1, stanzas(1, 1), 60);
    await store.append(named("b"), b.epoch, 1, stanzas(2, 2), 60);
    await store.release(named("a"), a.epoch);
    assert.deepEqual(granted(await store.load(named("b"), b.epoch, 1, 1000)).stanzas, stanzas(2, 2));
  });

  const ALICE = "alice@localhost";
  const left = (answer: Awaited<ReturnType<Store["inherit"]>>) => granted(answer).map(({ name }) => name.session);

  use(
    "a login gets what was stored for its resource, for whom it has shown to be, and what is over: no other",
    async ({ store }) => {
      for (const [session, resource] of [
        ["a", "phone"],
        ["b", "tablet"],
        ["c", "laptop"],
        ["d", "desk"],
      ] as const) {
        const name = named(session, resource);
        const { epoch } = granted(await store.claim(name, "edge-a", 60));
        assert.equal(await store.append(name, epoch, 1, stanzas(1, 3), 60), "stored");
        if (session === "c") assert.equal(await store.trim(name, epoch, 1, true), "trimmed");
      }
      assert.equal(await store.hasLeft(ALICE, "none", ""), true);
      assert.equal(await store.hasLeft(ALICE, "none", "c"), false);
      assert.deepEqual(left(await store.inherit("bob@localhost", "phone", "b", "edge-b")), []);
      const found = granted(await store.inherit(ALICE, "phone", "b", "edge-b"));
      assert.deepEqual(found.map(({ name, first, next }) => [name, first, next]).sort(), [
        [named("a", "phone"), 1, 4],
        [named("b", "tablet"), 1, 4],
        [named("c", "laptop"), 2, 4],
      ]);
      for (const { name, epoch, first } of found) {
        assert.deepEqual(granted(await store.load(name, epoch, first, 1e6)).stanzas, stanzas(first, 3));
      }
    },
  );

  use("what a login has got is there for the next one, whoever that is, until it is trimmed", async ({ store }) => {
    const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
    await store.append(named("a"), epoch, 1, stanzas(1, 3), 60);
    const [first] = granted(await store.inherit(ALICE, "phone", null, "edge-b"));
    assert.equal(await store.append(named("a"), epoch, 4, stanzas(4, 4), 60), "fenced", "its owner is fenced");
    const [second] = granted(await store.inherit(ALICE, "tablet", null, "edge-c"));
    assert.ok(second!.epoch > first!.epoch);
    assert.equal(await store.trim(named("a"), first!.epoch, 3, true), "fenced", "so is the login before");
    assert.deepEqual(left(await store.inherit(ALICE, "tablet", null, "edge-c")), ["a"]);
    const [third] = granted(await store.inherit(ALICE, "other", null, "edge-c"));
    assert.equal(await store.trim(named("a"), third!.epoch, 3, true), "trimmed");
    assert.deepEqual(left(await store.inherit(ALICE, "phone", "a", "edge-b")), []);
    assert.equal(await store.hasLeft(ALICE, "phone", ""), false);
    assert.equal(await taken(store, "a"), null);
  });

  use(
    "a session whose owner has said nothing for its time is over; one that is claimed again is not",
    async ({ store, pass }) => {
      const epochs: number[] = [];
      for (const session of ["a", "b"]) {
        const { epoch } = granted(await store.claim(named(session), "edge-a", 60));
        epochs.push(epoch);
        await store.append(named(session), epoch, 1, stanzas(1, 3), 60);
      }
      assert.deepEqual(left(await store.inherit(ALICE, "tablet", null, "edge-b")), []);
      for (const [i, session] of ["a", "b"].entries()) await store.append(named(session), epochs[i]!, 4, [], 0.05);
      await pass(100);
      granted(await store.claim(named("b"), "edge-c", 60));
      assert.deepEqual(left(await store.inherit(ALICE, "tablet", null, "edge-b")), ["a"]);
    },
  );

  use("a session of which nothing waits leaves nothing, trimmed or released", async ({ store }) => {
    for (const session of ["a", "b"]) {
      const { epoch } = granted(await store.claim(named(session), "edge-a", 60));
      await store.append(named(session), epoch, 1, stanzas(1, 3), 60);
      if (session === "a") assert.equal(await store.trim(named(session), epoch, 3), "trimmed");
      else assert.equal(await store.release(named(session), epoch), "released");
    }
    assert.deepEqual(left(await store.inherit(ALICE, "phone", null, "edge-b")), []);
  });
}
