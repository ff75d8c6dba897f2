import { z } from "zod";
import { filePath, listenAddress } from "../base/option-types.ts";

export const opsOptions = z
  .strictObject({
    listen: listenAddress().prefault("127.0.0.1:9090").meta({
      description:
        "Where `/metrics`, `/healthz` and `/readyz` are served over HTTP. There is no login: keep it on a private address.",
      reload: false,
    }),
    control: filePath()
      .optional()
      .meta({
        description:
          "A unix socket by which `breakwater drain` and `breakwater upgrade` reach the edge, for its own user only (0600). Its " +
          "folder must exist. " +
          "Absent: no commands.",
        reload: false,
      }),
  })
  .prefault({})
  .meta({ description: "What operators and their tools see." });

export type OpsOptions = z.infer<typeof opsOptions>;
