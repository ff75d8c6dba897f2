import assert from "node:assert/strict";
import { test } from "node:test";
import { loaded, mistakesOf, SMALL } from "./support.ts";

const listeners = (...lines: string[]) =>
  SMALL.replace('  - { kind: starttls, listen: "[::]:5222" }', lines.map((line) => `  - { ${line} }`).join("\n"));

test("two cores: each domain has to name its own", () => {
  const two = `${SMALL}  - { name: second, connect: "tcp://127.0.0.1:2" }\n`;
  assert.deepEqual(mistakesOf(two), ["2:5: domains[0]: needs `core`, as there are several: one of main, second"]);
  assert.equal(
    loaded(two.replace("name: example.org", "name: example.org\n    core: second")).config.domains[0]?.core,
    "second",
  );
});

test("two cores of one name are told", () => {
  const twice = `${SMALL}  - { name: main, connect: "tcp://127.0.0.1:2" }\n`;
  assert.deepEqual(mistakesOf(twice), ['9:13: cores[1].name: the core "main" is here twice']);
});

test("a domain without a certificate is a mistake where clients use TLS, and none behind a balancer", () => {
  const bare = SMALL.replace(/ {4}certificate.*\n {4}key.*\n/, "");
  assert.deepEqual(mistakesOf(bare), ["2:5: domains[0]: needs `certificate` and `key`, as listeners[0] is starttls"]);
  assert.deepEqual(mistakesOf(bare.replace("starttls", "plaintext")), []);
});

test("one certificate beside the name, or a list of them, not both", () => {
  const list = SMALL.replace("certificate: example.org.crt", "certificates: [{ certificate: a, key: b }]");
  assert.equal(mistakesOf(list).length, 2);
  const { config } = loaded(list.replace(/ {4}key: .*\n/, ""));
  assert.deepEqual(config.domains[0]?.certificates, [{ certificate: "/etc/breakwater/a", key: "/etc/breakwater/b" }]);
});

test("a port that two listeners would take is told, whatever way its address is written", () => {
  const taken = (a: string, b: string) =>
    mistakesOf(listeners(`kind: tls, listen: "${a}"`, `kind: tls, listen: "${b}"`)).length === 1;
  assert.ok(taken(":5222", "0.0.0.0:5222"));
  assert.ok(taken("127.0.0.1:5222", "0.0.0.0:5222"));
  assert.ok(taken("[::1]:5222", "[::]:5222"));
  assert.ok(!taken("127.0.0.1:5222", "127.0.0.2:5222"));
  assert.ok(!taken("127.0.0.1:0", "127.0.0.1:0"));
  assert.ok(!taken(":5222", ":5223"));
});

test("a listener on the port of ops is told", () => {
  assert.deepEqual(mistakesOf(listeners('kind: tls, listen: ":9090"')), [
    "6:26: listeners[0].listen: port 9090 is taken by ops.listen",
  ]);
});

test("TLS settings of a core that is reached without TLS are told", () => {
  const text = SMALL.replace("name: main,", "name: main, tls: { servername: x },");
  assert.match(mistakesOf(text)[0]!, /cores\[0\]\.tls: has no use: `connect` says tcp, not tls:\/\/$/);
});

test("bounds that contradict each other are told", () => {
  const wrong = mistakesOf(
    `${SMALL}limits: { before_login: { max_bytes: 500000 } }\nstream_management: { max_queue_bytes: 2000000, max_total_bytes: 1048576 }\n`,
  );
  assert.deepEqual(wrong, [
    "9:38: limits.before_login.max_bytes: may not exceed limits.after_login.max_bytes (262144)",
    "10:39: stream_management.max_queue_bytes: may not exceed max_total_bytes (1048576)",
  ]);
});

test("what is allowed and probably not meant is a warning with its line", () => {
  const text = SMALL.replace("kind: starttls", "kind: plaintext").replace("tcp://127.0.0.1:", "tcp://8.8.8.8:");
  const more = '  - { name: spare, connect: "unix:c2s.sock" }\nops: { listen: ":9090" }\n';
  const { warnings } = loaded(`${text.replace("name: example.org", "name: example.org\n    core: main")}${more}`);
  assert.deepEqual(
    warnings.map(({ line, path, message }) => `${line} ${path}: ${message}`),
    [
      "4 domains[0].certificate: the file /etc/breakwater/example.org.crt does not exist",
      "5 domains[0].key: the file /etc/breakwater/example.org.key does not exist",
      "7 listeners[0].kind: plaintext beyond this machine: only a balancer that ends TLS should reach this port",
      "9 cores[0].connect: passwords travel unencrypted to a public address; use tls:// or a private network",
      "10 cores[1].name: no domain uses this core",
      "11 ops.listen: metrics are served beyond this machine, without a login",
    ],
  );
});

test("what a core's `reattach` lacks, or has for nothing, is told", () => {
  const wrong = (inside: string, more = 'stream_management: { resume_secret: "0123456789abcdef0123456789abcdef" }\n') =>
    mistakesOf(SMALL.replace("name: main,", `name: main, reattach: { ${inside} },`) + more);
  const api = 'api: "http://127.0.0.1:5280/api"';
  assert.deepEqual(wrong(api), []);
  assert.deepEqual(wrong(`${api}, username: a@b, password: x`), []);
  assert.match(wrong(api, "").join(), /reattach: needs `stream_management\.resume_secret`/);
  assert.match(wrong(`${api}, username: a@b`).join(), /username: needs `password` beside it$/);
  assert.match(wrong(`${api}, password: x`).join(), /password: needs `username` beside it$/);
  assert.match(wrong(`${api}, username: a@b, password: x, bearer: y`).join(), /bearer: stands beside `username`/);
  assert.match(wrong(`${api}, ca: /x`).join(), /ca: has no use: `api` says http/);
  for (const odd of ["ftp://x/", "http://user@x/api", "x", "http://x/api?y"])
    assert.match(wrong(`api: "${odd}"`).join(), /api: expected an address such as/);
});
