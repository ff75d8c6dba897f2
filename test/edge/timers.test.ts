import assert from "node:assert/strict";
import { createHook } from "node:async_hooks";
import { test } from "node:test";
import { Wire } from "../support/wire.ts";

test("sessions have no timers of their own: forty more, idle or just written to, and the process has as many as before", async (t) => {
  // Unref'd ones too, which process.getActiveResourcesInfo() does not tell.
  const timers = new Set<number>();
  const hook = createHook({
    init: (id, type) => {
      if (type === "Timeout") timers.add(id);
    },
    destroy: (id) => timers.delete(id),
  }).enable();
  t.after(() => hook.disable());
  const wire = await Wire.start(t);

  const grow = async (count: number): Promise<number> => {
    for (let i = 0; i < count; i++) {
      const { client, core } = await wire.login();
      await client.enable();
      core.write(`<message from='bob@${wire.core.domain}'><body>hello</body></message>`);
      await client.take((element) => element.name === "message", "a message");
    }
    // Timers of the clients' own patience have been cleared; that is told one turn later.
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
    return timers.size;
  };
  const before = await grow(4);
  const after = await grow(40);
  assert.ok(before > 0, "the janitor's timers are seen");
  assert.equal(after, before);
});
