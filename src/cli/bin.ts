#!/usr/bin/env node
/**
 * The program of the npm package.
 *
 * @module
 */

import process from "node:process";

// Older ones lack what the modules use as they load, so check the version before the import.
const OLDEST = 22;
if (parseInt(process.versions.node) < OLDEST) {
  console.error(`jsonrpc needs Node ${OLDEST} or newer; this is Node ${process.versions.node}`);
  process.exit(1);
}
const { main } = await import("./cli.ts");
// Standard sockets may keep the process alive until the server has closed them.
process.exit(await main(process.argv.slice(2)));
