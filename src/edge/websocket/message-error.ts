import { type FramingCondition, FramingError } from "../../xmpp/framing-error.ts";

/** RFC 6455 §7.4.1. */
export const CLOSE = { normal: 1000, unsupported: 1003, badData: 1007, policy: 1008, tooBig: 1009 } as const;

/** A message that ends the stream, for a reason that WebSocket has a code for: it is told in the Close frame as well. */
export class MessageError extends FramingError {
  readonly closeCode: number;

  constructor(closeCode: number, condition: FramingCondition, message: string) {
    super(condition, message);
    this.closeCode = closeCode;
  }
}
