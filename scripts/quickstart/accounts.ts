import { messageOf } from "../../src/base/errors.ts";
import { RawClient } from "../../test/support/clients/raw-client.ts";
import type { DemoEdge } from "./edge.ts";
import { type DemoOptions, HOST, PASSWORD, Trouble, userNames } from "./options.ts";

/** Logs every demo account in once, through the edge. Throws a Trouble at the first that a foreign core does not have. */
export async function requireAccounts(options: DemoOptions, edge: DemoEdge): Promise<void> {
  for (const user of userNames(options.accounts)) {
    try {
      await logIn(user, options.domain, edge);
    } catch (error) {
      throw new Trouble(
        `user "${user}" with password "${PASSWORD}" cannot log in to ${options.upstream} (${messageOf(error)}). ` +
          "The quickstart makes accounts only on a core that it has started: make them there, or leave --accounts away.",
      );
    }
  }
}

async function logIn(user: string, domain: string, edge: DemoEdge): Promise<void> {
  const client = await RawClient.connect({ host: HOST, port: edge.tls, domain, tls: "direct", ca: edge.ca });
  try {
    await client.open();
    const offered = client.mechanisms();
    const mechanism = (["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"] as const).find((name) => offered.includes(name));
    await client.authenticate({ user, password: PASSWORD, mechanism: mechanism ?? "PLAIN" });
  } finally {
    client.drop();
  }
}
