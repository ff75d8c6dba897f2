/** What a negotiation waits for. One step at a time: while the core owes an answer, nothing more of the client is read. */
export type Step =
  /** The client's opening tag. */
  | "header"
  /** `<starttls/>`: nothing else is taken before encryption. */
  | "starttls"
  /** Its turn to log in to the core (`Gate`). */
  | "turn"
  /** The core's opening tag and stream features. */
  | "features"
  /** The client's next SASL element. */
  | "sasl"
  /** The core's answer to it. */
  | "verdict"
  /** The client's bind or resume request. */
  | "bind"
  /** The core's answer to the bind request, or to one of ours to resume a session of its own. */
  | "bound"
  | "resumed"
  /** The answer of the process whose place this one takes: whether it has the session. */
  | "claimed";

/** The steps in which the core, the edge or another process owes an answer. */
export const ANSWER_OWED: ReadonlySet<Step> = new Set(["turn", "features", "verdict", "bound", "resumed", "claimed"]);
