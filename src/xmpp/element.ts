import { Element, escapeXML, parse } from "ltx";
import type { Frame } from "./frame.ts";
import { textOf } from "./frame.ts";

export { Element };

/**
 * A frame as a tree: only for what the edge must change or answer (stream features, SASL, bind, stream errors). The
 * framer has proven the frame well-formed, so this does not fail on anything that a peer sends.
 */
export function parseElement(frame: Frame): Element {
  return parse(textOf(frame));
}

/** Child elements without the text between them. */
export function childElements(element: Element): Element[] {
  return element.children.filter((child): child is Element => typeof child !== "string");
}

/** Text safe inside an attribute or an element. */
export function escapeText(text: string): string {
  return escapeXML(text);
}
