/**
 * A page whose `prepare` fails. It shows as its title what connect() rejects with.
 */
import { connect } from "../../src/client/client.ts";

try {
  await connect("rpc", {
    prepare: async (connection) => {
      if (await connection.call("add", [1, 2]) === 3) throw new RangeError("three is too many");
    },
  });
} catch (error) {
  const { name, message, cause } = error as Error;
  document.title = JSON.stringify([name, message, String(cause)]);
}

declare const document: { title: string };
