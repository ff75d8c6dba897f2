import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface ApiCall {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly args: Readonly<Record<string, string | number>>;
}

/** How the API behaves from the next call on: as ejabberd's, or with this status and text, or not at all. */
export type ApiMood = "well" | "silent" | { readonly status: number; readonly text: string };

/** A scripted mod_http_api of ejabberd: sessions are there and as old as the test says, and every account gets a token. */
export class FakeCoreApi {
  mood: ApiMood = "well";
  /** Of every session, in seconds; null: there is none. */
  uptime: number | null = 1_000_000;
  resource = "phone";
  readonly calls: ApiCall[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async listen(): Promise<FakeCoreApi> {
    const api = new FakeCoreApi();
    await new Promise<void>((resolve) => api.#server.listen({ host: "127.0.0.1", port: 0 }, resolve));
    return api;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/api`;
  }

  /** The calls of one command. */
  named(command: string): ApiCall[] {
    return this.calls.filter(({ path }) => path === `/api/${command}`);
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = "";
    for await (const part of request) text += part;
    const path = request.url!;
    this.calls.push({ path, authorization: request.headers.authorization, args: JSON.parse(text) });
    const { mood } = this;
    if (mood === "silent") return;
    if (mood !== "well") return void response.writeHead(mood.status).end(mood.text);
    const { resource, uptime } = this;
    const sessions =
      uptime === null
        ? []
        : [
            { resource: "desk", uptime: 5 },
            { resource, uptime },
          ];
    const answer = path.endsWith("/oauth_issue_token") ? { token: "let-me-in", scopes: "sasl_auth" } : sessions;
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
  }
}
