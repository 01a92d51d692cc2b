/**
 * Makes Node resolve the names in deno.json: `node --import ./tools/node.ts FILE`.
 */
import { registerHooks } from "node:module";
import { names } from "./names.ts";

registerHooks({
  resolve(name, context, next) {
    return next(names.get(name) ?? name, context);
  },
});
