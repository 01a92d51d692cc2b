/**
 * The codes of errors that a client answers with or reads. `error_code.ts` has all codes, for programs.
 *
 * @module
 */

// Constants, since a bundler puts the numbers in place of their names.
export const RESPONSE_TOO_BIG = -32008;
export const SERVER_BUSY = -32009;
export const BATCH_TOO_LARGE = -32010;
export const BATCH_RESPONSE_TOO_LARGE = -32011;
export const REQUEST_CANCELLED = -32800;
