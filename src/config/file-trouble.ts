import { messageOf } from "../base/errors.ts";

const SENTENCES: Record<string, string> = {
  ENOENT: "does not exist",
  ENOTDIR: "does not exist: a part of its path is no folder",
  EACCES: "may not be read by this user",
  EPERM: "may not be read by this user",
  EISDIR: "is a folder, not a file",
  ELOOP: "is a symbolic link that leads back to itself",
  ENAMETOOLONG: "has a name that is too long",
};

/** Why a file could not be read, to follow its name. */
export function fileTrouble(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return SENTENCES[code ?? ""] ?? `cannot be read: ${code ?? messageOf(error)}`;
}
