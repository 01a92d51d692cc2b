/**
 * `./workers` fits the declarations that Cloudflare generates. They are a package of their own, and declare
 * globals that clash with those of every other runtime: what matters of them is written down here.
 */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { durableObject, hibernate } from "@x/jsonrpc/workers";

type Listener<Event> = (event: Event) => void;

interface Events {
  close: { readonly code: number; readonly reason: string; readonly wasClean: boolean };
  message: { readonly data: unknown; readonly type: string };
  open: { readonly type: string };
  error: { readonly message: string };
}

interface CloudflareSocket {
  accept(options?: { allowHalfOpen?: boolean }): void;
  send(message: (ArrayBuffer | ArrayBufferView) | string): void;
  close(code?: number, reason?: string): void;
  serializeAttachment(attachment: unknown): void;
  deserializeAttachment(): unknown;
  addEventListener<Type extends keyof Events>(
    type: Type,
    handler: Listener<Events[Type]> | { handleEvent: Listener<Events[Type]> },
    options?: boolean,
  ): void;
  readyState: number;
}

interface CloudflareState {
  readonly storage: {
    get<T = unknown>(key: string, options?: object): Promise<T | undefined>;
    get<T = unknown>(keys: string[], options?: object): Promise<Map<string, T>>;
    put<T>(key: string, value: T, options?: object): Promise<void>;
    delete(key: string, options?: object): Promise<boolean>;
    delete(keys: string[], options?: object): Promise<number>;
    readonly sql: {
      exec<T extends Record<string, ArrayBuffer | string | number | null>>(
        query: string,
        ...bindings: unknown[]
      ): { toArray(): T[] };
    };
  };
  blockConcurrencyWhile<T>(callback: () => Promise<T>): Promise<T>;
  acceptWebSocket(ws: CloudflareSocket, tags?: string[]): void;
  getWebSockets(tag?: string): CloudflareSocket[];
}

/** What a class must be for `DurableObjectNamespace<Room>`, and for an export of a Worker. */
type DurableObjectClass = new (...args: never[]) => { readonly __DURABLE_OBJECT_BRAND: never };

test("durableObject() makes a class for Cloudflare's declarations", () => {
  class Room extends durableObject(() => new JsonRpc()) {}
  const exported: DurableObjectClass = Room;
  const of = (room: Room): Room => room;
  assertEquals([exported, of.length], [Room, 1]);
  assertEquals("__DURABLE_OBJECT_BRAND" in Room.prototype, false);
});

test("hibernate() takes the state of an object of one's own", () => {
  class Own {
    readonly handlers;
    constructor(state: CloudflareState) {
      this.handlers = hibernate(new JsonRpc(), state);
    }
    webSocketMessage(socket: CloudflareSocket, data: string | ArrayBuffer): unknown {
      return this.handlers.webSocketMessage(socket, data);
    }
  }
  const state = { getWebSockets: () => [] } as Partial<CloudflareState> as CloudflareState;
  assertEquals(typeof new Own(state).handlers.fetch, "function");
});
