/** A real XMPP server, started for a test, a demo or a measurement, on loopback and in a directory of its own. */
export interface Core {
  readonly kind: CoreKind;
  /** The first of its domains. */
  readonly domain: string;
  readonly host: "127.0.0.1";
  /** Plaintext c2s, SASL offered at once. */
  readonly port: number;
  /** Plaintext c2s that requires a PROXY header. ejabberd only. */
  readonly proxyPort?: number;
  /** Plaintext c2s. ejabberd only. */
  readonly unixPath?: string;
  /** Component port (XEP-0114): `component.DOMAIN`, secret "secret". */
  readonly componentPort: number;
  /** BOSH at /bosh (ejabberd) or /http-bind (Prosody), WebSocket at /ws or /xmpp-websocket. */
  readonly httpPort: number;
  /** c2s that offers STARTTLS, with a certificate for its domains. Only with `tls`. */
  readonly starttlsPort?: number;
  /** Direct TLS, same certificate. Only with `tls`. */
  readonly tlsPort?: number;
  /** BOSH and WebSocket over TLS, same paths and certificate. Only with `tls`. */
  readonly httpsPort?: number;
  /** c2s that offers nothing but STARTTLS at first. ejabberd with `tls` only; on Prosody use `requireEncryption`. */
  readonly starttlsRequiredPort?: number;
  /** Plaintext c2s that offers zlib compression after login. ejabberd only. */
  readonly zlibPort?: number;
  /** PEM file of the authority that signed its certificate. Only with `tls`. */
  readonly ca?: string;
  readonly dir: string;
  /** The server's main process: whose CPU and memory are the server's. Changes with a restart. */
  readonly pid: number;

  register(user: string, password: string, domain?: string): Promise<void>;
  /** Thousands at a time. */
  registerAll(accounts: Iterable<{ user: string; password: string; domain?: string }>): Promise<void>;
  /** Full addresses of the bound sessions that the server sees, dormant ones included. */
  sessions(): Promise<string[]>;
  /** ejabberdctl or prosodyctl on this very instance; answers what it printed. Slow: about half a second. */
  ctl(...args: string[]): Promise<string>;
  /** Everything it has logged. */
  log(): Promise<string>;
  /** Stops in the server's own polite way and removes its directory. May be called twice. */
  stop(): Promise<void>;
  /** As a crash does: SIGKILL. The directory stays; `restart` brings it back. */
  kill(): Promise<void>;
  /** Stops politely (unless it was killed) and starts again: same ports, same data. */
  restart(): Promise<void>;
  /** Stops the process without ending it (SIGSTOP): connections stay open and nothing answers. `thaw` goes on. */
  freeze(): void;
  thaw(): void;
}

export type CoreKind = "ejabberd" | "prosody";

export interface CoreOptions {
  /** Default "localhost". */
  domain?: string;
  /** Further domains on the same server. */
  domains?: readonly string[];
  /** Seconds that a session without a stream waits (XEP-0198). Default 300. */
  resumeTimeout?: number;
  /** Seconds until an unanswered `<r/>` ends the stream, default 60. ejabberd only. */
  ackTimeout?: number;
  /** Default true. False: a server that knows no XEP-0198. */
  streamManagement?: boolean;
  /** Unacknowledged stanzas that a session may hold. Default 5000. */
  maxUnacked?: number;
  /** Archive every message (XEP-0313). Default false: the archive is there but stays empty. */
  archive?: boolean;
  /** Bytes of one stanza. Default 262144. */
  maxStanzaBytes?: number;
  /** TLS listeners with a certificate of the tests' authority. On Prosody this also offers `<starttls/>` on `port`. */
  tls?: boolean;
  /** With `tls`: a certificate of one's own instead of the tests' authority. */
  certificate?: { cert: string; key: string; ca: string };
  /** With `tls`: SCRAM-*-PLUS where TLS allows it, and EXTERNAL (ejabberd asks for client certificates). Default false. */
  channelBinding?: boolean;
  /** Only SCRAM hashes are stored. Default false: passwords as they are, which offers most mechanisms. */
  hashedPasswords?: boolean;
  /** No SASL before TLS. Prosody only, default false. With `tls` false it has then nothing to offer. */
  requireEncryption?: boolean;
  /** X-OAUTH2, and tokens for any account by `oauth_issue_token` (its HTTP API asks nothing of loopback). ejabberd only. */
  tokens?: boolean;
  /** Fixed ports instead of free ones, e.g. for a demo. */
  port?: number;
}

export const ALL_CORES: readonly CoreKind[] = ["ejabberd", "prosody"];
