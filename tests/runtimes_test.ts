/**
 * The suite against a server in each runtime, through each of its doors.
 */
import { cases } from "./_kit/suite.ts";
import { servedTargets } from "./_kit/targets.ts";

for (const target of servedTargets()) {
  for (const { name, run } of cases) target.test(name, ({ url }) => run(url));
}
