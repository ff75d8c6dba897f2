import assert from "node:assert/strict";
import { test } from "node:test";
import { afterReload } from "../../src/config/changes.ts";
import { loaded, mistakesOf, SMALL } from "./support.ts";

const SECRET = "stream_management: { resume_secret: 0123456789abcdef0123456789abcdef }\n";
const TWO = `workers: 2\n${SMALL}`;

test("one process is what there is without a word, and needs nothing", () => {
  assert.equal(loaded(SMALL).config.workers, 1);
  assert.deepEqual(mistakesOf(`workers: 1\n${SMALL}`), []);
});

test("several need a secret by which they resume each other's sessions, unless sessions are not resumed at all", () => {
  assert.deepEqual(mistakesOf(TWO), [
    "1:10: workers: needs `stream_management.resume_secret`, so that a client can resume at any worker: write what `openssl rand -base64 32` prints",
  ]);
  assert.deepEqual(mistakesOf(`${TWO}${SECRET}`), []);
  assert.deepEqual(mistakesOf(`${TWO}stream_management: { enabled: false }\n`), []);
});

test("several cannot listen on any free port, as each would have its own", () => {
  const any = `${TWO}${SECRET}`.replace("[::]:5222", "[::]:0");
  assert.deepEqual(mistakesOf(any), [
    "7:31: listeners[0].listen: port 0 would be another one in each of the 2 workers: write a number",
  ]);
  assert.deepEqual(mistakesOf(any.replace("workers: 2", "workers: 1")), []);
});

test("one socket takes the commands for all", () => {
  const control = "ops: { control: /run/breakwater/control.sock }\n";
  assert.deepEqual(mistakesOf(`${TWO}${SECRET}${control}`), []);
});

test("a number of processes that makes no sense is told", () => {
  for (const wrong of ["0", "65", "1.5", "many"])
    assert.match(mistakesOf(`workers: ${wrong}\n${SMALL}`)[0] ?? "", /workers: expected a whole number from 1 to 64/);
});

test("after a reload what needs a restart counts as it was, and the rest as it is now", () => {
  const before = loaded(SMALL).config;
  const changed = SMALL.replace("5222", "5223").replace("name: main", "name: new");
  const after = loaded(
    `${changed}http: { max_header_bytes: 9000, max_requests: 7 }\nlimits: { max_connections: 5 }\n`,
  ).config;
  const { listeners, cores, http, limits } = afterReload(before, after);
  assert.deepEqual(listeners, before.listeners);
  assert.deepEqual(cores, after.cores);
  assert.deepEqual([http.max_header_bytes, http.max_requests], [8192, 7]);
  assert.deepEqual(limits, after.limits);
});
