/**
 * The version of the command line.
 *
 * @module
 */

/** The version in deno.json: a test compares them. A module from a registry cannot read that file. */
export const VERSION = "0.1.0";
