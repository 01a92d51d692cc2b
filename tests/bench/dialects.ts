/**
 * How the same call is said to each contender, and what its answer says.
 */

/** What an answer says. */
export interface Answer {
  readonly id: number;
  readonly result: unknown;
}

/** One way to say a call as text. */
export interface Dialect {
  readonly path: string;
  /** What has to be said first. */
  readonly hello: readonly string[];
  /** How many texts come before the first answer. */
  readonly greetings: number;
  say(id: number, method: string, params: unknown): string;
  read(text: string): Answer;
}

interface JsonAnswer {
  readonly id: number;
  readonly result: unknown;
}

const jsonRpc: Dialect = {
  path: "/",
  hello: [],
  greetings: 0,
  say: (id, method, params) => JSON.stringify({ jsonrpc: "2.0", method, params, id }),
  read: (text) => JSON.parse(text) as JsonAnswer,
};

/** By name. */
export const DIALECTS: Readonly<Record<string, Dialect>> = {
  jsonRpc,
  /** The call itself comes back. */
  raw: {
    ...jsonRpc,
    read(text) {
      const { id, params } = JSON.parse(text) as { id: number; params: { a?: number; b?: number } };
      const { a, b } = params;
      return { id, result: a === undefined || b === undefined ? params : a + b };
    },
  },
  socketIo: {
    path: "/socket.io/?EIO=4&transport=websocket",
    hello: ["40"],
    greetings: 2,
    say: (id, method, params) => `42${id}${JSON.stringify([method, params])}`,
    read(text) {
      const at = text.indexOf("[");
      const [result] = JSON.parse(text.slice(at)) as unknown[];
      return { id: Number(text.slice(2, at)), result };
    },
  },
  tRpc: {
    ...jsonRpc,
    say: (id, path, input) => JSON.stringify({ id, method: "query", params: { path, input } }),
    read(text) {
      const { id, result } = JSON.parse(text) as { id: number; result: { data: unknown } };
      return { id, result: result.data };
    },
  },
};
