/**
 * How each contender encodes a call and its answer.
 */

/** A decoded answer. */
export interface Answer {
  readonly id: number;
  readonly result: unknown;
}

/** One encoding. */
export interface Dialect {
  readonly path: string;
  /** Texts to send before the first call. */
  readonly hello: readonly string[];
  /** How many texts the server sends before the first answer. */
  readonly greetings: number;
  encode(id: number, method: string, params: unknown): string;
  decode(text: string): Answer;
}

interface JsonAnswer {
  readonly id: number;
  readonly result: unknown;
}

const jsonRpc: Dialect = {
  path: "/",
  hello: [],
  greetings: 0,
  encode: (id, method, params) => JSON.stringify({ jsonrpc: "2.0", method, params, id }),
  decode: (text) => JSON.parse(text) as JsonAnswer,
};

/** By name. */
export const DIALECTS: Readonly<Record<string, Dialect>> = {
  jsonRpc,
  /** The server sends the call back. */
  raw: {
    ...jsonRpc,
    decode(text) {
      const { id, params } = JSON.parse(text) as { id: number; params: { a?: number; b?: number } };
      const { a, b } = params;
      return { id, result: a === undefined || b === undefined ? params : a + b };
    },
  },
  socketIo: {
    path: "/socket.io/?EIO=4&transport=websocket",
    hello: ["40"],
    greetings: 2,
    encode: (id, method, params) => `42${id}${JSON.stringify([method, params])}`,
    decode(text) {
      const at = text.indexOf("[");
      const [result] = JSON.parse(text.slice(at)) as unknown[];
      return { id: Number(text.slice(2, at)), result };
    },
  },
  tRpc: {
    ...jsonRpc,
    encode: (id, path, input) => JSON.stringify({ id, method: "query", params: { path, input } }),
    decode(text) {
      const { id, result } = JSON.parse(text) as { id: number; result: { data: unknown } };
      return { id, result: result.data };
    },
  },
};
