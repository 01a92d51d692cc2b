/**
 * The suite against a server in each runtime, through each of its doors.
 */
import { eachTarget } from "./_kit/each_target.ts";
import { cases } from "./_kit/suite.ts";

for (const target of eachTarget()) {
  for (const { name, run } of cases) target.test(name, ({ url }) => run(url));
}
