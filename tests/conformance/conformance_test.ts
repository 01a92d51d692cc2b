/**
 * The suite against a server in each runtime, through each of its doors.
 */
import { cases } from "./cases.ts";
import { servedTargets } from "../helpers/targets.ts";

for (const target of await servedTargets()) {
  for (const { name, run } of cases) target.test(name, ({ url }) => run(url));
}
