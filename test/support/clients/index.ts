import type { LibraryClient, LibraryOptions } from "./library-client.ts";
import { Slixmpp } from "./slixmpp.ts";
import { Strophe } from "./strophe.ts";
import { XmppJs } from "./xmpp-js.ts";

export type { ChatMessage, LibraryClient, LibraryOptions } from "./library-client.ts";
export {
  type Credentials,
  type LoginOptions,
  RawClient,
  type RawClientOptions,
  type StreamManagement,
} from "./raw-client.ts";
export { Slixmpp } from "./slixmpp.ts";
export { Strophe } from "./strophe.ts";
export { Element, escapeXml } from "./xml-stream.ts";
export { XmppJs } from "./xmpp-js.ts";

/** Client libraries that nobody here wrote. A scene that all of them can play is a loop over these. */
export const LIBRARIES: Record<string, (options: LibraryOptions) => Promise<LibraryClient>> = {
  "@xmpp/client": XmppJs.login,
  slixmpp: Slixmpp.login,
  libstrophe: Strophe.login,
};
