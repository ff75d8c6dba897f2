/** What client and edge have agreed on (RFC 7692 §7.1). Neither side keeps anything from message to message. */
export interface DeflateTerms {
  /** The value of the answer's Sec-WebSocket-Extensions. */
  readonly answer: string;
  /** The greatest window that the client inflates with, as a power of two. */
  readonly windowBits: number;
}

const EXTENSION = "permessage-deflate";
const MAX_WINDOW_BITS = 15;
// zlib has no raw DEFLATE with a window of 256 bytes.
const MIN_WINDOW_BITS = 9;

// RFC 6455 §9.1. A quoted value must be a token too, so commas and semicolons separate wherever they are.
const TOKEN = "[-!#$%&'*+.^_`|~0-9A-Za-z]+";
const NAME = new RegExp(`^${TOKEN}$`);
const PARAMETER = new RegExp(`^(${TOKEN})(?:[ \\t]*=[ \\t]*(?:(${TOKEN})|"(${TOKEN})"))?$`);
const WINDOW_BITS = /^(?:[89]|1[0-5])$/;

/** The first of a client's offers that can be met, null when there is none. "malformed": no such header may be. */
export function acceptOffer(header: string | undefined): DeflateTerms | null | "malformed" {
  let terms: DeflateTerms | null = null;
  for (const extension of (header ?? "").split(",")) {
    const [name, ...parameters] = extension.split(";").map((part) => part.trim());
    if (name === "" && parameters.length === 0) continue; // a list may have empty elements (RFC 9110 §5.6.1.2)
    if (!NAME.test(name!)) return "malformed";
    const parsed = parameters.map((parameter) => PARAMETER.exec(parameter));
    if (parsed.includes(null)) return "malformed";
    if (name === EXTENSION) terms ??= termsFor(parsed as RegExpExecArray[]);
  }
  return terms;
}

// RFC 7692 §7.1: an offer with a parameter that is unknown, twice there, or has a wrong value is declined.
function termsFor(parameters: readonly RegExpExecArray[]): DeflateTerms | null {
  const values = new Map<string, string | undefined>();
  for (const [, name, token, quoted] of parameters) {
    const value = token ?? quoted;
    if (values.has(name!) || !isValid(name!, value)) return null;
    values.set(name!, value);
  }
  const asked = values.get("server_max_window_bits");
  const windowBits = asked === undefined ? MAX_WINDOW_BITS : Number(asked);
  if (windowBits < MIN_WINDOW_BITS) return null;
  // The client's window is left at its greatest: without takeover it costs nothing between messages.
  const answer = `${EXTENSION}; server_no_context_takeover; client_no_context_takeover`;
  return { answer: asked === undefined ? answer : `${answer}; server_max_window_bits=${asked}`, windowBits };
}

function isValid(name: string, value: string | undefined): boolean {
  switch (name) {
    case "server_no_context_takeover":
    case "client_no_context_takeover":
      return value === undefined;
    case "server_max_window_bits":
      return value !== undefined && WINDOW_BITS.test(value);
    case "client_max_window_bits":
      return value === undefined || WINDOW_BITS.test(value);
    default:
      return false;
  }
}
