import { NS } from "../../xmpp/ns.ts";
import { attributesText } from "./answers.ts";

type Attributes = Readonly<Record<string, string | number | null | undefined>>;

/** What answers tell beside their payload: each thing once, with the next answer that somebody takes. */
export class Told {
  #next: Record<string, string | number | null | undefined> = {};

  /** Says the same of a later thing of the same name. */
  add(attributes: Attributes): void {
    Object.assign(this.#next, attributes);
  }

  /** As the text of attributes, with those that only this answer has. */
  take(own: Attributes): string {
    const all = { ...this.#next, ...own };
    this.#next = {};
    const usesPrefix = Object.keys(all).some((name) => name.startsWith("xmpp:"));
    return attributesText(usesPrefix ? { "xmlns:xmpp": NS.xbosh, ...all } : all);
  }
}
