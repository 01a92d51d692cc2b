/**
 * The cases against a server on each runtime, on its own server and through `./node`.
 */
import { cases } from "./cases.ts";
import { servedTargets } from "../helpers/targets.ts";

for (const target of await servedTargets()) {
  for (const { name, run } of cases) target.test(name, ({ url }) => run(url));
}
