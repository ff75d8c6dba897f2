import { escapeText } from "./element.ts";
import { type Frame, frameOver } from "./frame.ts";
import type { StreamScope } from "./framer-namespaces.ts";
import { peek } from "./peek.ts";

/**
 * A frame that uses prefixes of its stream header (`usesStreamPrefix`), with their declarations in its own start tag: so
 * it means the same on any other stream, and `peek` understands it. For frames below an opening tag whose default
 * namespace is jabber:client. The bytes are new and stay as they are.
 */
export function selfContained(frame: Frame, scope: StreamScope): Frame {
  let declarations = "";
  for (const [prefix, uri] of scope.prefixes) {
    if (peek.attr(frame, `xmlns:${prefix}`) === null) declarations += ` xmlns:${prefix}='${escapeText(uri)}'`;
  }
  const bytes = Buffer.concat([
    frame.bytes.subarray(frame.start, frame.nameEnd),
    Buffer.from(declarations),
    frame.bytes.subarray(frame.nameEnd, frame.end),
  ]);
  return { ...frameOver(bytes, 0, bytes.length, frame.kind), stable: true };
}
