/**
 * A certificate for the loopback address, made by openssl.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

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

/**
 * Makes a certificate that vouches for itself.
 *
 * @returns `undefined`, after a loud message, where there is no openssl: return early from the test.
 */
export async function selfSigned(): Promise<Certificate | undefined> {
  const folder = await mkdtemp(join(tmpdir(), "jsonrpc-"));
  const remove = () => rm(folder, { recursive: true });
  const [keyFile, certFile] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  try {
    const args = ["req", "-x509", ...WHAT, ...WHO, "-keyout", keyFile, "-out", certFile];
    await promisify(execFile)("openssl", args);
  } catch (error) {
    await remove();
    console.error(`SKIPPED: no certificate without openssl: ${error}`);
    return undefined;
  }
  const [key, cert] = await Promise.all([keyFile, certFile].map((file) => readFile(file, "utf8")));
  return { key, cert, keyFile, certFile, [Symbol.asyncDispose]: remove } as Certificate;
}
