/**
 * What `rpc.discover` tells of the methods of auth backends.
 *
 * @module
 */

import type { MethodDocument, PluginMethod } from "../core/plugin.ts";

const BOOLEAN = { type: "boolean" };
const TEXT = { type: "string" };

/** Tells of a method that takes texts, and answers whether it did what it is for. */
export function textsToBoolean(summary: string, names: readonly string[]): MethodDocument {
  const params = names.map((name) => ({ name, required: true, schema: TEXT }));
  return { summary, params, result: BOOLEAN };
}

const PASSWORD_METHODS = new Map<string, MethodDocument>([
  [
    "login",
    textsToBoolean("Logs this connection in; answers whether the password is right", [
      "username",
      "password",
    ]),
  ],
  ["logout", textsToBoolean("Logs this connection out", [])],
  ["create_user", textsToBoolean("Adds a user", ["username", "password"])],
  ["delete_user", textsToBoolean("Removes a user", ["username"])],
  ["set_password", {
    summary: "Changes your password, or, for those who may, that of another user",
    structure: "by-name",
    params: [
      { name: "username", schema: TEXT },
      { name: "password", required: true, schema: TEXT },
      { name: "old_password", schema: TEXT },
    ],
    result: BOOLEAN,
  }],
  ["login_token", {
    summary: "Gives a token that logs this user in again",
    params: [],
    result: { type: ["string", "null"] },
  }],
  ["login_with_token", textsToBoolean("Logs this connection in with a kept token", ["token"])],
]);

/** Adds its document to each method of a backend for names and passwords. */
export function documented(
  methods: Readonly<Record<string, PluginMethod>>,
): Record<string, PluginMethod> {
  return Object.fromEntries(
    Object.entries(methods).map(([name, method]) => {
      const document = PASSWORD_METHODS.get(name);
      return [name, document === undefined ? method : { ...method, document }];
    }),
  );
}
