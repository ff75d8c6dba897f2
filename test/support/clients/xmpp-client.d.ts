// @xmpp/client ships no types: what the tests use of it.
declare module "@xmpp/client" {
  import type { EventEmitter } from "node:events";
  import type { Duplex } from "node:stream";

  export interface XmlElement {
    name: string;
    attrs: Record<string, string | undefined>;
    children: (XmlElement | string)[];
    is(name: string, ns?: string): boolean;
    getChild(name: string, ns?: string): XmlElement | undefined;
    getChildText(name: string, ns?: string): string | null;
    toString(): string;
  }

  export interface StreamManagementState extends EventEmitter {
    enabled: boolean;
    id: string;
    inbound: number;
    outbound: number;
    outbound_q: { stanza: XmlElement }[];
    max: string | undefined;
    requestAckDebounce: number;
  }

  export interface XmppEntity extends EventEmitter {
    status: string;
    jid: { toString(): string } | null;
    options: { service: string; domain: string; lang?: string };
    socket: (Duplex & { socket?: Duplex; host?: string }) | null;
    streamManagement: StreamManagementState;
    reconnect: { delay: number; stop(): void; start(): void; reconnect(): Promise<void> };
    iqCaller: { request(stanza: XmlElement, timeoutMs?: number): Promise<XmlElement> };
    socketParameters(service: string): Record<string, unknown>;
    _onData(data: Buffer): void;
    parser: { write(text: string): void };
    connect(service: string): Promise<unknown>;
    open(options: { domain: string; lang: string | undefined }): Promise<unknown>;
    stop(): Promise<unknown>;
    send(stanza: XmlElement): Promise<void>;
  }

  type Authenticate = (credentials: { username: string; password: string }, mechanism: string) => Promise<void>;

  export function client(options: {
    service: string;
    domain: string;
    resource?: string;
    username?: string;
    password?: string;
    credentials?: (authenticate: Authenticate, mechanisms: string[]) => Promise<void>;
  }): XmppEntity;
  export function xml(name: string, attrs?: object, ...children: (XmlElement | string)[]): XmlElement;
}
