// deno-lint-ignore-file no-unused-vars -- the files share one scope: tools/inspector.ts joins them
// Passwords and tokens in frames: shown as "***", by the rules of maskSecrets() in src/core/trace.ts.

const SECRET = /pass|secret|token|credential|cookie|authoriz|login|api_?key/i;
// How every JSON Web Token begins, and every token of passwd.
const TOKENS = ["eyJ", "WyJ"];

function maskSecrets(text) {
  if (!SECRET.test(text) && !TOKENS.some((start) => text.includes(start))) return text;
  try {
    return JSON.stringify(JSON.parse(text, mask));
  } catch {
    return "(not JSON, and may hold a secret)";
  }
}

function mask(name, value) {
  if (typeof value === "string") {
    const isToken = TOKENS.some((start) => value.startsWith(start));
    return SECRET.test(name) || isToken ? "***" : value;
  }
  const { method, params } = value ?? {};
  if (method === "rpc.login" && params?.params !== undefined) {
    return { ...value, params: { ...params, params: "***" } };
  }
  const isSecret = typeof method === "string" && SECRET.test(method) && Array.isArray(params);
  return isSecret ? { ...value, params: params.map(() => "***") } : value;
}
