import assert from "node:assert/strict";
import { test } from "node:test";
import { PHASES, type Phase } from "../../src/session/phases.ts";
import { phaseReference } from "../../src/session/reference.ts";

const phases = Object.keys(PHASES) as Phase[];

test("every phase can be reached, and from every phase there is a way to closed", () => {
  const reached = new Set<Phase>(["connecting"]);
  for (let size = 0; size !== reached.size; ) {
    size = reached.size;
    for (const phase of reached) for (const to of Object.values(PHASES[phase].on)) reached.add(to);
  }
  assert.deepEqual([...reached].sort(), [...phases].sort());
  for (const from of phases) {
    const seen = new Set<Phase>([from]);
    for (const phase of seen) for (const to of Object.values(PHASES[phase].on)) seen.add(to);
    assert.ok(seen.has("closed"), from);
  }
});

test("every phase that has a deadline says what follows it, and no other does", () => {
  for (const phase of phases) {
    assert.equal(PHASES[phase].deadline !== null, PHASES[phase].on.deadline !== undefined, phase);
  }
});

test("every phase with a bound client says what follows when it or its core goes, and when the edge ends", () => {
  for (const phase of ["active", "inactive", "resuming"] as const) {
    for (const event of ["lost", "gone", "coreGone", "ending", "overflow", "relinked"] as const) {
      assert.ok(PHASES[phase].on[event], `${phase}: ${event}`);
    }
  }
  for (const event of ["coreGone", "ending", "overflow", "relinked", "deadline"] as const)
    assert.ok(PHASES.dormant.on[event]);
  for (const event of ["gone", "lost", "coreGone", "flushed", "deadline"] as const)
    assert.equal(PHASES.draining.on[event], "closed");
  assert.deepEqual(PHASES.closed.on, {});
});

test("only a dormant session has no link, and only a resumed one, or one offered to another process, gets out of there alive", () => {
  assert.deepEqual(
    phases.filter((phase) => PHASES[phase].link === "–"),
    ["dormant", "leaving", "closed"],
  );
  assert.deepEqual(
    Object.entries(PHASES.dormant.on).filter(([, to]) => to !== "closed"),
    [
      ["relinked", "resuming"],
      ["offered", "leaving"],
    ],
  );
});

test("the reference has a row for each phase", () => {
  const text = phaseReference();
  for (const phase of phases) assert.ok(text.includes(`| **${phase}** |`), phase);
});
