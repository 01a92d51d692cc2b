#!/usr/bin/env node
/**
 * The program of the npm package.
 *
 * @module
 */

import process from "node:process";
import { main } from "./cli.ts";

// Standard sockets may keep the process alive until the server has closed them.
process.exit(await main(process.argv.slice(2)));
