import { messageOf } from "../../src/base/errors.ts";
import { type Core, startCore } from "../../test/support/cores/index.ts";
import { type DemoOptions, PASSWORD, Trouble, tail, userNames } from "./options.ts";

/** A core of the quickstart's own: on loopback, in a directory of its own, with what people use switched on. */
export async function startDemoCore(options: DemoOptions): Promise<Core> {
  const kind = options.core === "ejabberd" ? "ejabberd" : "prosody";
  let core: Core;
  try {
    // As long as the edge holds a session, so that neither lets go first.
    core = await startCore(kind, { domain: options.domain, archive: true, resumeTimeout: 600 });
  } catch (error) {
    const [why, ...log] = messageOf(error).split("\n");
    throw new Trouble(`${why}. ${mayRunAs(kind)}The last lines of its log:\n${tail(log.join("\n"))}`);
  }
  await core.registerAll(userNames(options.accounts).map((user) => ({ user, password: PASSWORD })));
  return core;
}

function mayRunAs(kind: string): string {
  if (process.getuid?.() === 0) return "";
  return kind === "ejabberd"
    ? 'Debian\'s ejabberd runs only as root or as the user "ejabberd": run this as root, or try --core prosody. '
    : "";
}
