import type { Clock } from "../base/clock.ts";
import type { CoreOwner, CoreStream } from "../session/ports.ts";
import { childElements, type Element, parseElement } from "../xmpp/element.ts";
import { type Frame, KIND } from "../xmpp/frame.ts";
import { NS } from "../xmpp/ns.ts";
import { openingTag, XML_DECLARATION } from "../xmpp/stream-header.ts";
import type { CoreOptions } from "./options.ts";
import { REMEDIES } from "./quirks.ts";

/** What a probe found. */
export type ProbeResult =
  | { readonly state: "well"; readonly mechanisms: readonly string[] }
  /** Not reachable, or no XMPP: it may come back by itself. */
  | { readonly state: "down"; readonly detail: string }
  /** Reachable, and set up in a way that an edge cannot honour: only the operator can mend it. */
  | { readonly state: "unfit"; readonly mistakes: readonly string[] };

/** How long a core may take for its stream header and features. */
const ANSWER_MS = 5000;

/**
 * Opens a real stream for `domain` and looks at what the core offers before login (never an idle connection: on a PROXY
 * port of ejabberd that would keep everybody else out). `open` dials; the stream is closed again in every case.
 */
export function probe(
  core: CoreOptions,
  domain: string,
  clock: Clock,
  open: (owner: CoreOwner) => CoreStream,
): Promise<ProbeResult> {
  return new Promise((resolve) => {
    let done = false;
    let refusedWith = "";
    const finish = (result: ProbeResult): void => {
      if (done) return;
      done = true;
      timer.cancel();
      stream.owner = null;
      stream.end();
      resolve(result);
    };
    const timer = clock.after(ANSWER_MS + core.connect_timeout * 1000, () =>
      finish({ state: "down", detail: "it took the connection and sent no stream features" }),
    );
    const stream = open({
      coreConnected(stream) {
        const header = Buffer.concat([XML_DECLARATION, Buffer.from(openingTag({ to: domain }))]);
        stream.write(header, 0, header.length);
        stream.flush();
      },
      coreHeader() {},
      coreFrame(_stream, frame) {
        if (frame.kind === KIND.features) finish(judge(core, parseElement(frame)));
        else if (frame.kind === KIND.streamError) refusedWith = conditionOf(frame);
      },
      coreChunkEnd() {},
      coreStreamEnd: () => finish(refused(core, domain, refusedWith)),
      coreDrained() {},
      coreGone: (_stream, _reason, detail) => finish({ state: "down", detail }),
    });
  });
}

function refused(core: CoreOptions, domain: string, condition: string): ProbeResult {
  if (condition === "host-unknown") {
    return { state: "unfit", mistakes: [`it does not serve ${domain} (host-unknown): add the domain to its hosts`] };
  }
  // Prosody closes like this when it requires encryption and has none to offer.
  if (condition === "undefined-condition") return { state: "unfit", mistakes: [REMEDIES[core.kind].startTls] };
  return { state: "down", detail: `it closed the stream${condition === "" ? "" : ` (${condition})`}` };
}

function conditionOf(frame: Frame): string {
  return (
    childElements(parseElement(frame))
      .find((child) => child.getNS() === NS.streamErrors)
      ?.getName() ?? ""
  );
}

/** Compares the features before login with what an edge can honour (research: channel binding cannot cross an edge). */
function judge(core: CoreOptions, features: Element): ProbeResult {
  const list = features.getChild("mechanisms", NS.sasl);
  const mechanisms = list === undefined ? [] : childElements(list).map((child) => child.getText());
  const remedies = REMEDIES[core.kind];
  const starttls = features.getChild("starttls", NS.tls);
  const mistakes: string[] = [];
  const plus = mechanisms.filter((name) => name.endsWith("-PLUS"));
  if (plus.length > 0 || features.getChild("sasl-channel-binding", NS.saslChannelBinding) !== undefined) {
    mistakes.push(
      `it offers channel binding (${plus.join(", ") || "sasl-channel-binding"}), which a client cannot complete through an edge: ${remedies.channelBinding}`,
    );
  }
  if (mechanisms.includes("EXTERNAL")) {
    mistakes.push(
      `it offers SASL EXTERNAL, which would log clients in by the edge's own connection: ${remedies.external}`,
    );
  }
  if (mechanisms.length === 0) {
    const wantsTls = starttls !== undefined;
    mistakes.push(
      wantsTls
        ? `it wants STARTTLS before any login: ${remedies.startTls}`
        : `it offers no SASL mechanism: ${remedies.mechanisms}`,
    );
  } else if (core.mechanisms !== undefined && !core.mechanisms.some((name) => mechanisms.includes(name))) {
    mistakes.push(
      `it offers ${mechanisms.join(", ")}, and none of them is in this core's mechanisms: add one, or remove the list`,
    );
  }
  return mistakes.length > 0 ? { state: "unfit", mistakes } : { state: "well", mechanisms };
}
