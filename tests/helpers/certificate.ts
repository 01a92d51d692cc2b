/**
 * A certificate for the loopback address, made by openssl.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { programPath } from "./programs.ts";

/** A key and its certificate, as text and as files. */
export interface Certificate {
  readonly key: string;
  readonly cert: string;
  readonly keyFile: string;
  readonly certFile: string;
  /** Removes the files. */
  [Symbol.asyncDispose](): Promise<void>;
}

const WHAT = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2", "-nodes"];
const WHO = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];

/** Makes a certificate that signs itself. */
export async function selfSigned(): Promise<Certificate> {
  const folder = await mkdtemp(join(tmpdir(), "jsonrpc-"));
  const [keyFile, certFile] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const args = ["req", "-x509", ...WHAT, ...WHO, "-keyout", keyFile, "-out", certFile];
  await promisify(execFile)(programPath("openssl"), args);
  const [key = "", cert = ""] = await Promise.all(
    [keyFile, certFile].map((file) => readFile(file, "utf8")),
  );
  const remove = () => rm(folder, { recursive: true });
  return { key, cert, keyFile, certFile, [Symbol.asyncDispose]: remove };
}
