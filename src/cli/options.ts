import { z } from "zod";

export const workersOptions = z
  .number()
  .int()
  .min(1)
  .max(64)
  .default(1)
  .meta({
    description:
      "Processes that share the listeners' ports: at most one for each CPU that the edge may use. More than one needs " +
      "`stream_management.resume_secret`, as a client that comes back may reach another process. workers.md tells what " +
      "the processes share and which limits count for each.",
    reload: false,
  });
