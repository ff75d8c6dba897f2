import { type ChildProcess, type SendHandle, spawn } from "node:child_process";
import type { SocketHandle } from "../../breakwater.ts";
import { type NewWord, type OldWord, SUCCEEDS } from "./messages.ts";
import type { Program } from "./program.ts";

/** How a process reaches the one that takes its place: as its child, or through its supervisor. */
export interface HeirChannel {
  readonly pid: number | undefined;
  /** Resolves when it is out of reach, with words for the operator. */
  readonly gone: Promise<string>;
  onWord: (word: NewWord) => void;
  /** Resolves when it is on its way, and rejects when it cannot be sent. */
  send(word: OldWord, socket: SocketHandle | null): Promise<void>;
  /** It is of no use any more; `gone` tells when it has ended. */
  kill(): void;
  /** All is said. It goes on alone. */
  release(): void;
}

/** And how that one reaches its predecessor. */
export interface BeforeChannel {
  readonly isOpen: boolean;
  onWord: (word: OldWord, socket: SocketHandle | null) => void;
  onGone: () => void;
  /** Resolves when it is on its way, or nobody is there any more. */
  send(word: NewWord): Promise<void>;
}

/** Starts a program that takes this process's place. */
export class ChildHeir implements HeirChannel {
  readonly pid: number | undefined;
  readonly gone: Promise<string>;
  onWord: (word: NewWord) => void = () => {};
  readonly #child: ChildProcess;
  #isGone = false;

  constructor({ file, args }: Program) {
    // On its own: neither the end of this process nor a Ctrl-C for it is the new one's.
    this.#child = spawn(file, [...args], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      detached: true,
      serialization: "advanced",
      env: { ...process.env, [SUCCEEDS]: String(process.pid) },
    });
    this.pid = this.#child.pid;
    this.gone = new Promise((resolve) => {
      const end = (how: string): void => {
        this.#isGone = true;
        resolve(how);
      };
      this.#child.on("error", (error) => this.pid === undefined && end(`${file} cannot be started: ${error.message}`));
      this.#child.once("exit", (code, signal) => {
        killGroup(this.pid!);
        end(`the new process ended (${signal ?? `code ${code}`})`);
      });
    });
    this.#child.on("message", (word: NewWord) => this.onWord(word));
  }

  send(word: OldWord, socket: SocketHandle | null): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#isGone) return; // `gone` tells why
      const handle = (socket ?? undefined) as SendHandle | undefined;
      this.#child.send(word, handle, {}, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  release(): void {
    this.#child.disconnect();
    this.#child.unref();
  }
}

/** The process that has started this one in its place. */
export class ParentBefore implements BeforeChannel {
  onWord: (word: OldWord, socket: SocketHandle | null) => void = () => {};
  onGone: () => void = () => {};

  constructor() {
    process.on("message", (word: OldWord, socket?: unknown) => this.onWord(word, (socket ?? null) as SocketHandle));
    process.once("disconnect", () => this.onGone());
  }

  get isOpen(): boolean {
    return process.connected;
  }

  send(word: NewWord): Promise<void> {
    return new Promise((resolve) => {
      if (!process.connected) return resolve();
      process.send?.(word, undefined, undefined, () => resolve());
    });
  }
}

// A supervisor's workers are in the group that began with it. None may go on with what this process takes back.
function killGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL");
  } catch {} // nobody is left in it
}
