import { readFileSync } from "node:fs";
import { Pool } from "undici";
import { BreakwaterError, messageOf } from "../base/errors.ts";
import { meter } from "../base/meter.ts";
import type { AttachFailure } from "../session/ports.ts";
import { bareOf, type Jid } from "../xmpp/jid.ts";
import type { ReattachOptions } from "./options.ts";

const calls = meter.counter("breakwater_core_api_calls_total", "Calls of the HTTP API of cores, by core and result", [
  "core",
  "result",
]);

/** More than the sessions of one account can fill. */
const MAX_ANSWER_BYTES = 256 * 1024;
/** A session's age at the core is told in whole seconds, and the two clocks began at different moments. */
const AGE_TOLERANCE_MS = 3000;

/** Why a session cannot be attached, as far as the API can tell. */
export class CoreApiError extends BreakwaterError {
  readonly how: AttachFailure;

  constructor(how: AttachFailure, message: string) {
    super("BW_CORE_API", message);
    this.how = how;
  }
}

/** ejabberd's HTTP API (mod_http_api): knows sessions, and gives tokens with which an account logs in (X-OAUTH2). */
export class CoreApi {
  readonly #core: string;
  readonly #options: ReattachOptions;
  readonly #pool: Pool;
  readonly #path: string;

  /** Throws BreakwaterError("BW_CORE_TLS") when the authorities for an `https://` API cannot be read. */
  constructor(core: string, options: ReattachOptions) {
    this.#core = core;
    this.#options = options;
    const url = new URL(options.api);
    this.#path = url.pathname.replace(/\/+$/, "");
    const timeout = options.timeout * 1000;
    this.#pool = new Pool(url.origin, {
      connections: options.max_concurrent,
      headersTimeout: timeout,
      bodyTimeout: timeout,
      connect: { timeout, ...authorities(core, options) },
    });
  }

  /**
   * Looks whether the session is still there and on the stream that the edge knows of, which began `ageMs` ago. Throws
   * CoreApiError. (ejabberd notes the time anew whenever a session is resumed.)
   */
  async expectSession(jid: Jid, ageMs: number): Promise<void> {
    const sessions = await this.#call("user_sessions_info", { user: jid.local, host: jid.domain });
    if (!Array.isArray(sessions)) throw new CoreApiError("later", "user_sessions_info: the answer is no list");
    const session = (sessions as unknown[]).find((one) => isRecord(one) && one["resource"] === jid.resource);
    if (session === undefined) throw new CoreApiError("lost", "the core has no such session any more");
    const uptime = (session as Record<string, unknown>)["uptime"];
    if (typeof uptime !== "number") throw new CoreApiError("later", "user_sessions_info: a session has no uptime");
    if (uptime * 1000 + AGE_TOLERANCE_MS < ageMs) {
      throw new CoreApiError("elsewhere", "the session has been resumed on another stream");
    }
  }

  /** A token with which the account can log in by X-OAUTH2, for `token_lifetime`. Throws CoreApiError. */
  async token(jid: Jid): Promise<string> {
    const ttl = Math.ceil(this.#options.token_lifetime);
    const answer = await this.#call("oauth_issue_token", { jid: bareOf(jid), ttl, scopes: "sasl_auth" });
    const token = isRecord(answer) ? answer["token"] : undefined;
    if (typeof token === "string" && token !== "" && !token.includes("\0")) return token;
    throw new CoreApiError("later", "oauth_issue_token: the answer has no token");
  }

  close(): void {
    this.#pool.close().catch(() => {});
  }

  async #call(command: string, args: Readonly<Record<string, string | number>>): Promise<unknown> {
    try {
      const answer = await this.#request(command, args);
      calls.inc(this.#core, "ok");
      return answer;
    } catch (error) {
      // Of what undici throws only the message: an error may carry the request, and that the credentials.
      const failure =
        error instanceof CoreApiError ? error : new CoreApiError("later", `${command}: ${messageOf(error)}`);
      calls.inc(this.#core, failure.how === "refused" ? "refused" : "failed");
      throw failure;
    }
  }

  async #request(command: string, args: Readonly<Record<string, string | number>>): Promise<unknown> {
    const { statusCode, body } = await this.#pool.request({
      path: `${this.#path}/${command}`,
      method: "POST",
      headers: { "content-type": "application/json", ...this.#authorization() },
      body: JSON.stringify(args),
      signal: AbortSignal.timeout(this.#options.timeout * 1000),
    });
    const text = await readText(body);
    if (statusCode === 200) return JSON.parse(text);
    const hint = STATUS_HINTS[statusCode];
    throw new CoreApiError(hint === undefined ? "later" : "refused", `${command}: ${statusCode}${hint ?? ""}`);
  }

  #authorization(): Record<string, string> {
    const { username, password, bearer } = this.#options;
    if (bearer !== undefined) return { authorization: `Bearer ${bearer.reveal()}` };
    if (username === undefined) return {};
    return { authorization: `Basic ${Buffer.from(`${username}:${password!.reveal()}`).toString("base64")}` };
  }
}

/** What the operator has to mend; every other status may mend itself. */
const STATUS_HINTS: Readonly<Record<number, string>> = {
  400: " (is this ejabberd's mod_http_api?)",
  401: " (are the credentials right, and do ejabberd's api_permissions allow it to them?)",
  403: " (do ejabberd's api_permissions allow oauth_issue_token and user_sessions_info to this edge?)",
  404: " (is the path that of mod_http_api, and is erlang-p1-oauth2 installed beside ejabberd?)",
};

async function readText(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) throw new Error("the answer is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function authorities(core: string, { ca }: ReattachOptions): { ca?: Buffer } {
  if (ca === undefined) return {};
  try {
    return { ca: readFileSync(ca) };
  } catch (error) {
    throw new BreakwaterError(
      "BW_CORE_TLS",
      `core "${core}": its authorities (reattach.ca) cannot be used: ${messageOf(error)}`,
    );
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
