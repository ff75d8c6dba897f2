import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import { descriptorTrouble } from "../../src/cli/descriptors.ts";
import { breakwater, configFile } from "./support.ts";

test("--version tells the version of the package", async () => {
  const { version } = JSON.parse(readFileSync(resolve(import.meta.dirname, "../../package.json"), "utf8"));
  assert.deepEqual(await breakwater("--version"), { code: 0, out: `${version}\n`, err: "" });
});

test("--help shows the commands, examples and what the exit codes mean", async () => {
  const { code, out } = await breakwater("--help");
  assert.equal(code, 0);
  for (const text of ["breakwater run", "breakwater check", "Examples:", "78 for a wrong"])
    assert.ok(out.includes(text), text);
});

test("a wrong command line ends with 64 and says what was probably meant", async () => {
  const told = async (...args: string[]) => {
    const { code, err } = await breakwater(...args);
    assert.equal(code, 64);
    return err.split("\n")[0];
  };
  assert.equal(await told("rum"), "breakwater: unknown command rum; did you mean run?");
  assert.equal(await told("upgrad"), "breakwater: unknown command upgrad; did you mean upgrade?");
  assert.equal(await told("check", "--confg", "x"), "breakwater: unknown argument confg; did you mean --config?");
  assert.equal(await told("check", "--config"), "breakwater: Not enough arguments following: config");
  assert.equal(await told(), "breakwater: Which command?");
});

test("check tells what a configuration means, and its warnings beside it", async (t) => {
  const { file, opsPort } = await configFile(t, "limits: { max_connections: 10 }\n");
  assert.deepEqual(await breakwater("check", "--config", file), {
    code: 0,
    out: [
      `${file} is valid`,
      "  domain     example.org, served by main, no certificates",
      "  listener   plaintext on 127.0.0.1:0",
      `  core       main, other at unix:${file.replace("breakwater.yaml", "none.sock")}, at most 400 stanzas unacknowledged`,
      `  ops        http://127.0.0.1:${opsPort}`,
      "",
    ].join("\n"),
    err: "",
  });
});

test("check tells all mistakes on standard error and ends with 78, without a stack", async (t) => {
  const { file, text } = await configFile(t);
  writeFileSync(file, `${text.replace("plaintext", "plain")}lgo: {}\n`);
  const { code, out, err } = await breakwater("check", "-c", file);
  assert.deepEqual({ code, out }, { code: 78, out: "" });
  assert.deepEqual(err.trimEnd().split("\n"), [
    `${file}:4:13: listeners[0].kind: expected one of starttls, tls, plaintext, https, http, all, found "plain"`,
    `${file}:8:1: lgo: unknown key; did you mean \`log\`?`,
    `2 mistakes in ${file}`,
  ]);
  const missing = await breakwater("run", "-c", `${file}.none`);
  assert.deepEqual(missing, { code: 78, out: "", err: `${file}.none: does not exist\n` });
});

test("check --print shows the defaults and hides secrets", async (t) => {
  const secret = "0123456789abcdef0123456789abcdef";
  const { file } = await configFile(t, `tls: { ticket_secret: ${secret} }\n`);
  const { out } = await breakwater("check", "--print", "-c", file);
  assert.match(out, /hold_time: 600\n/);
  assert.match(out, /listen: 127\.0\.0\.1:\d+\n/);
  assert.match(out, /ticket_secret: "?\[secret\]"?\n/);
  assert.ok(!out.includes(secret));
});

test("completion prints a script, and completes commands", async () => {
  assert.match((await breakwater("completion")).out, /breakwater --get-yargs-completions/);
  assert.match((await breakwater("--get-yargs-completions", "breakwater", "ch")).out, /^check$/m);
});

test("a limit of open files that is too low for the connections is told", () => {
  const limits = (count: string) => `Limit\nMax open files            ${count}               4096  files\n`;
  assert.match(
    descriptorTrouble(1000, limits("1024")) ?? "",
    /^1000 connections need 2100 file descriptors.* may open 1024/,
  );
  assert.equal(descriptorTrouble(1000, limits("2100")), null);
  assert.equal(descriptorTrouble(1000, limits("unlimited")), null);
  assert.equal(descriptorTrouble(1000, ""), null);
});
