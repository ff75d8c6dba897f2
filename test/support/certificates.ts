import { execFileSync } from "node:child_process";
import { chmodSync, readFileSync } from "node:fs";
import { Scratch } from "./scratch.ts";

/** PEM files of one certificate, and of the authority that signed it. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/**
 * An authority of the tests' own, made by OpenSSL's program and not by the product's code. Its files vanish with the
 * process. One per process is enough: `testAuthority()`.
 */
export class TestAuthority {
  /** PEM file to trust. */
  readonly ca: string;
  #scratch = new Scratch("ca");
  #issued = new Map<string, CertificateFiles>();

  constructor() {
    this.ca = this.#scratch.path("ca.pem");
    this.#openssl(
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-days",
      "30",
    )(
      ["-keyout", this.#scratch.path("ca.key"), "-out", this.ca, "-subj", "/CN=Breakwater test authority"],
      ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
    );
  }

  /** A certificate for `names` (the first is the common name), made once and then remembered. */
  issue(names: readonly string[], kind: "ec" | "rsa" = "ec"): CertificateFiles {
    const known = this.#issued.get(`${kind} ${names.join(" ")}`);
    if (known) return known;
    const base = this.#scratch.path(`${this.#issued.size}`);
    const files: CertificateFiles = { cert: `${base}.pem`, key: `${base}.key`, ca: this.ca };
    const algorithm =
      kind === "ec" ? ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] : ["-newkey", "rsa:2048"];
    this.#openssl(
      "req",
      "-x509",
      "-nodes",
      "-days",
      "30",
      ...algorithm,
    )(
      ["-CA", this.ca, "-CAkey", this.#scratch.path("ca.key"), "-keyout", files.key, "-out", files.cert],
      ["-subj", `/CN=${names[0]}`, "-addext", `subjectAltName=${names.map((name) => `DNS:${name}`).join(",")}`],
      [
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        "keyUsage=critical,digitalSignature,keyEncipherment",
      ],
    );
    chmodSync(files.key, 0o644); // the cores run as users of their own
    this.#issued.set(`${kind} ${names.join(" ")}`, files);
    return files;
  }

  pem(): string {
    return readFileSync(this.ca, "utf8");
  }

  #openssl(...first: string[]) {
    return (...rest: string[][]) => {
      execFileSync("openssl", [...first, ...rest.flat()], { stdio: ["ignore", "ignore", "pipe"] });
    };
  }
}

let shared: TestAuthority | undefined;

export function testAuthority(): TestAuthority {
  shared ??= new TestAuthority();
  return shared;
}
