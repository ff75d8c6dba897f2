import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";
import { Secret } from "../../src/base/secret.ts";
import { parseConfig } from "../../src/config/load.ts";
import { ConfigMistakes } from "../../src/config/mistakes.ts";
import { printConfig } from "../../src/config/print.ts";
import { loaded, mistakesOf, SMALL } from "./support.ts";

const LONG = "0123456789abcdef0123456789abcdef";

test("a secret is a text, a variable of the environment or a file", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "breakwater-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "ticket"), `${LONG}\n`);
  const ways: string[] = [LONG, "{ env: TICKET }", "{ file: ticket }"];
  for (const way of ways) {
    const result = parseConfig(`${SMALL}tls: { ticket_secret: ${way} }\n`, join(folder, "b.yaml"), { TICKET: LONG });
    assert.ok(!(result instanceof ConfigMistakes));
    assert.equal(result.config.tls.ticket_secret?.reveal(), LONG);
  }
});

test("a secret that cannot be had is a mistake with its line", () => {
  const wrong = (value: string) => mistakesOf(`${SMALL}tls:\n  ticket_secret: ${value}\n`);
  assert.deepEqual(wrong("{ env: NONE }"), ["10:25: tls.ticket_secret.env: the environment variable NONE is not set"]);
  assert.deepEqual(wrong("{ file: none }"), [
    "10:26: tls.ticket_secret.file: the file /etc/breakwater/none does not exist",
  ]);
  assert.deepEqual(wrong("{ fil: none }"), ["10:25: tls.ticket_secret.fil: unknown key; did you mean `file`?"]);
  assert.match(wrong("{ file: a, env: B }")[0]!, /expected either `file` or `env`, not several keys$/);
  assert.match(wrong("{}")[0]!, /expected a text of at least 32 characters, \{ file: path \} or \{ env: NAME \}$/);
  assert.match(wrong("{ file: 5 }")[0]!, /expected the path of a file$/);
});

test("no message shows a secret, whatever is wrong with it", () => {
  for (const value of ["hunter2", "12345", "[hunter2]", "{ hunter: 2 }"]) {
    const [mistake = ""] = mistakesOf(`${SMALL}tls:\n  ticket_secret: ${value}\n`);
    assert.match(mistake, /^10:/);
    assert.doesNotMatch(mistake, /hunter2|12345/);
  }
});

test("a secret shows as [secret] wherever it is printed", () => {
  const { config } = loaded(`${SMALL}tls: { ticket_secret: ${LONG} }\n`);
  const { ticket_secret } = config.tls;
  const shown = [printConfig(config), JSON.stringify(config), inspect(config, { depth: 9 }), `${ticket_secret}`];
  for (const text of shown) {
    assert.match(text, /\[secret\]/);
    assert.doesNotMatch(text, /0123/);
  }
});

test("two secrets are equal when their texts are", () => {
  assert.ok(new Secret("a").equals(new Secret("a")));
  assert.ok(!new Secret("a").equals(new Secret("b")));
  assert.ok(!new Secret("a").equals("a"));
});
