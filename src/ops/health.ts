import { messageOf } from "../base/errors.ts";

/** True, or why not, in words for the operator. */
export type HealthCheck = () => true | string;

/** A check that fails, in words for the operator. */
export interface Failure {
  readonly name: string;
  readonly reason: string;
}

/** What must hold before clients should be sent here. Rooms register what they know; `/readyz` asks. */
export class Health {
  readonly #checks = new Map<string, HealthCheck>();

  /** Names are for the operator; a name that is known already gets the new check. */
  register(name: string, check: HealthCheck): void {
    this.#checks.set(name, check);
  }

  unregister(name: string): void {
    this.#checks.delete(name);
  }

  /** The checks that fail, with their reasons. Empty: ready. A check that throws fails. */
  failures(): Failure[] {
    return [...this.#checks].flatMap(([name, check]) => {
      const answer = answerOf(check);
      return answer === true ? [] : [{ name, reason: answer }];
    });
  }
}

function answerOf(check: HealthCheck): true | string {
  try {
    return check();
  } catch (error) {
    return messageOf(error);
  }
}
