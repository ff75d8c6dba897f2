import { BreakwaterError } from "../base/errors.ts";

/** Input that ends the stream: `condition` is what the sender is told (RFC 6120 §4.9.3 and §11). */
export class FramingError extends BreakwaterError {
  readonly condition: FramingCondition;

  constructor(condition: FramingCondition, message: string) {
    super("BW_FRAMING", message);
    this.condition = condition;
  }
}

export type FramingCondition =
  /** Not XML, not namespace-well-formed, or not UTF-8. */
  | "not-well-formed"
  /** Comment, processing instruction, DTD or entity (RFC 6120 §11.1). */
  | "restricted-xml"
  /** One of `FramerLimits` is exceeded. */
  | "policy-violation"
  /** Text between first-level elements (RFC 6120 §4.9.3.1). */
  | "bad-format"
  /** A message of a WebSocket that leaves a namespace to an opening tag (RFC 7395 §3.3.3). */
  | "invalid-namespace"
  /** An XML declaration that names an encoding other than UTF-8 (RFC 6120 §11.6). */
  | "unsupported-encoding";
