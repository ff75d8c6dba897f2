import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { createLog } from "../../src/base/log.ts";
import type { Certificate, DomainCertificates } from "../../src/tls/contexts.ts";
import { type DevelopmentCertificate, developmentCertificate } from "../../src/tls/development-certificate.ts";
import { CertificateStore } from "../../src/tls/store.ts";
import { TurnedClock } from "../support/clock.ts";
import { Scratch } from "../support/scratch.ts";

export const DOMAIN = "chat.example";

/** A directory with the files of one certificate, the stores that follow them, and what those used and logged. */
export class Place {
  readonly dir: string;
  readonly clock = new TurnedClock();
  domain = DOMAIN;
  readonly lines: Record<string, unknown>[] = [];
  readonly used: DomainCertificates[] = [];
  readonly #log = createLog({
    level: "info",
    destination: { write: (line: string) => void this.lines.push(JSON.parse(line) as Record<string, unknown>) },
  });
  readonly #t: TestContext;

  constructor(t: TestContext) {
    this.#t = t;
    const scratch = new Scratch("tls");
    t.after(() => scratch.remove());
    this.dir = scratch.dir;
    this.clock.advance({ ms: Date.now() - this.clock.wall() });
  }

  path(...names: string[]): string {
    return join(this.dir, ...names);
  }

  write(certificate: string, key: string, dir = ""): void {
    writeFileSync(this.path(dir, "tls.crt"), certificate);
    writeFileSync(this.path(dir, "tls.key"), key);
  }

  open(use?: (domain: DomainCertificates) => void, files = {}): CertificateStore {
    const store = new CertificateStore({
      domains: [
        {
          domain: this.domain,
          certificates: [{ certificate: this.path("tls.crt"), key: this.path("tls.key"), ...files }],
        },
      ],
      use: (domain) => {
        use?.(domain);
        this.used.push(domain);
      },
      clock: this.clock,
      log: this.#log,
    });
    this.#t.after(() => store.close());
    return store;
  }

  /** A minute later, so that the store has looked, whether the kernel told it of a change or not. */
  look(): void {
    this.clock.advance({ seconds: 61 });
  }

  get last(): Certificate {
    return this.used.at(-1)!.certificates[0]!;
  }

  logged(event: string): Record<string, unknown>[] {
    return this.lines.filter((line) => line["event"] === event);
  }
}

/** With a good certificate in place. */
export function place(t: TestContext): { at: Place; made: DevelopmentCertificate } {
  const at = new Place(t);
  const made = developmentCertificate([DOMAIN]);
  at.write(made.certificate, made.key);
  return { at, made };
}
