import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from "node:crypto";

export type ScramHash = "sha1" | "sha256" | "sha512";
/** "n": the client knows no channel binding. "y": it does, but believes that the server does not (RFC 5802 §6). */
export type Gs2 = "n" | "y";

// Deriving a key costs milliseconds, and a load test logs in the same accounts again and again.
const derived = new Map<string, Buffer>();

/** The client's half of RFC 5802 / 7677, without channel binding. */
export class Scram {
  #hash: ScramHash;
  #password: string;
  #gs2: string;
  #firstBare: string;
  #nonce = randomBytes(18).toString("base64");
  #serverSignature: Buffer = Buffer.alloc(0);

  constructor(hash: ScramHash, user: string, password: string, gs2: Gs2) {
    this.#hash = hash;
    this.#password = password;
    this.#gs2 = `${gs2},,`;
    this.#firstBare = `n=${user.replaceAll("=", "=3D").replaceAll(",", "=2C")},r=${this.#nonce}`;
  }

  first(): string {
    return this.#gs2 + this.#firstBare;
  }

  /** Answers the challenge. */
  final(serverFirst: string): string {
    const { r: nonce = "", s: salt = "", i: iterations = "" } = fields(serverFirst);
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length) throw new Error("SCRAM: foreign nonce");
    const withoutProof = `c=${Buffer.from(this.#gs2).toString("base64")},r=${nonce}`;
    const signed = `${this.#firstBare},${serverFirst},${withoutProof}`;
    const salted = this.#saltedPassword(salt, Number(iterations));
    const clientKey = this.#hmac(salted, "Client Key");
    const storedKey = createHash(this.#hash).update(clientKey).digest();
    const signature = this.#hmac(storedKey, signed);
    const proof = Buffer.from(clientKey.map((byte, i) => byte ^ signature[i]!));
    this.#serverSignature = this.#hmac(this.#hmac(salted, "Server Key"), signed);
    return `${withoutProof},p=${proof.toString("base64")}`;
  }

  /** Whether the server knows the password too. */
  isServer(serverFinal: string): boolean {
    const verifier = Buffer.from(fields(serverFinal)["v"] ?? "", "base64");
    return verifier.length === this.#serverSignature.length && timingSafeEqual(verifier, this.#serverSignature);
  }

  #saltedPassword(salt: string, iterations: number): Buffer {
    const key = JSON.stringify([this.#hash, this.#password, salt, iterations]);
    let salted = derived.get(key);
    if (!salted) {
      const length = { sha1: 20, sha256: 32, sha512: 64 }[this.#hash];
      salted = pbkdf2Sync(this.#password, Buffer.from(salt, "base64"), iterations, length, this.#hash);
      derived.set(key, salted);
    }
    return salted;
  }

  #hmac(key: Buffer, text: string): Buffer {
    return createHmac(this.#hash, key).update(text).digest();
  }
}

function fields(message: string): Record<string, string> {
  return Object.fromEntries(message.split(",").map((field) => [field.slice(0, 1), field.slice(2)]));
}
