/**
 * Refusing a request whose body is still on its way.
 */
import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { test } from "node:test";
import { afterBody } from "../../src/server/http/discard_body.ts";

const MIB = 1024 * 1024;

/** A request with a body that `pull` gives, one chunk at a time. */
function withBody(pull: (controller: ReadableStreamDefaultController) => void): Request {
  const body = new ReadableStream({ pull }, { highWaterMark: 0 });
  const init: RequestInit & { duplex: "half" } = { method: "POST", body, duplex: "half" };
  return new Request("http://localhost/", init);
}

test("afterBody() gives the response at once when there is no body", () => {
  const response = new Response("no");
  assertStrictEquals(afterBody(new Request("http://localhost/"), response), response);
});

test("afterBody() gives the response at once when the body is read elsewhere", () => {
  const response = new Response("no");
  const request = withBody(() => {});
  request.body?.getReader();
  assertStrictEquals(afterBody(request, response), response);
});

test("afterBody() gives the response when the body has ended", async () => {
  const response = new Response("no");
  let left = 10;
  const request = withBody((controller) => {
    if (left-- > 0) controller.enqueue(new Uint8Array(MIB));
    else controller.close();
  });
  assertStrictEquals(await afterBody(request, response), response);
  assertEquals(left, -1);
});

test("afterBody() reads no more than 64 MiB", async () => {
  const response = new Response("no");
  let chunks = 0;
  const request = withBody((controller) => {
    chunks++;
    controller.enqueue(new Uint8Array(MIB));
  });
  assertStrictEquals(await afterBody(request, response), response);
  // Some runtimes read one chunk ahead.
  assert(chunks >= 64 && chunks <= 66, `${chunks} chunks`);
});

test("afterBody() gives the response when the body breaks off", async () => {
  const response = new Response("no");
  const request = withBody((controller) => controller.error(new Error("reset")));
  assertStrictEquals(await afterBody(request, response), response);
});

test("afterBody() gives the response when the client waits for it before it sends a body", async () => {
  const response = new Response("no");
  const request = withBody(() => new Promise(() => {}));
  assertStrictEquals(await afterBody(request, response), response);
});
