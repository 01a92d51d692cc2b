/**
 * Replacing a file so that no other writer gets between reading and writing, a writer that dies loses
 * nothing, and readers always find a whole file.
 *
 * The lock is a folder `FILE.lock` with one file in it, the draft of the new content. Moving the draft
 * into place is the write and the release in one step, because an empty lock belongs to nobody. The
 * lock of a dead writer is broken by deleting its draft. If that writer was only slow, it finds that
 * it has nothing left to move, and starts again. A wrong clock or timeout can therefore cost time, but
 * never a change.
 *
 * @module
 */

import { mkdir, open, readdir, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

/**
 * Replaces a file.
 *
 * @param path The path of the file. The file may be missing, its folder must exist.
 * @param rewrite Reads the file and gives its new text, or `undefined` to leave it. Called again if
 * another writer has broken the lock in the meantime.
 * @param lockTimeoutMs Milliseconds that one lock may stand before its writer counts as dead.
 * @returns Whether the file was replaced. Rejects with what `rewrite` throws, and if the file cannot
 * be written.
 */
export async function lockedWrite(
  path: string,
  rewrite: () => Promise<string | undefined>,
  lockTimeoutMs: number,
): Promise<boolean> {
  const lock = `${path}.lock`;
  for (;;) {
    const token = await acquire(lock, lockTimeoutMs);
    const draft = join(lock, token);
    try {
      const text = await rewrite();
      if (text === undefined) return false;
      if (await commit(draft, text, path)) return true;
    } finally {
      await rm(draft, { force: true });
      await removeEmpty(lock);
    }
  }
}

// The mean time between two looks at a lock; random, so that waiting writers do not move in step.
const POLL_MS = 10;

/** Waits for the lock and takes it. Returns the name of the draft in it. */
async function acquire(lock: string, lockTimeoutMs: number): Promise<string> {
  for (;;) {
    await untilFree(lock, lockTimeoutMs);
    const token = crypto.randomUUID();
    if (await take(lock, token)) return token;
  }
}

async function untilFree(lock: string, lockTimeoutMs: number): Promise<void> {
  let since = performance.now();
  let owner = await ownerOf(lock);
  while (owner !== undefined) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS * (0.5 + Math.random())));
    const next = await ownerOf(lock);
    if (next !== owner) since = performance.now();
    else if (performance.now() - since > lockTimeoutMs) {
      await rm(join(lock, owner), { force: true });
    }
    owner = next;
  }
}

async function ownerOf(lock: string): Promise<string | undefined> {
  const [owner] = await readdir(lock).catch(unless("ENOENT")) ?? [];
  return owner;
}

/**
 * Makes a folder with a draft in it and moves it to where the lock is. That fails if another writer
 * holds the lock, since a folder can only replace an empty one.
 */
async function take(lock: string, token: string): Promise<boolean> {
  const folder = `${lock}.${token}`;
  await mkdir(folder, { mode: 0o700 });
  try {
    await writeFile(join(folder, token), "", { mode: 0o600 });
    await removeEmpty(lock);
    await rename(folder, lock);
    return true;
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    unless("ENOTEMPTY", "EEXIST")(error);
    return false;
  }
}

/** Writes the draft and moves it into place. Returns `false` if another writer has deleted it. */
async function commit(draft: string, text: string, path: string): Promise<boolean> {
  try {
    const file = await open(draft, "r+");
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    unless("ENOENT")(error);
    return false;
  }
  await syncFolder(dirname(path));
  return true;
}

/** Writes the folder to disk, so that the new file outlives a power cut. Some systems cannot. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r").catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close();
}

async function removeEmpty(folder: string): Promise<void> {
  await rmdir(folder).catch(unless("ENOENT", "ENOTEMPTY", "EEXIST"));
}

/** Makes a handler that ignores errors with one of these codes and throws all others. */
function unless(...codes: string[]): (error: unknown) => undefined {
  return (error) => {
    if (!codes.includes((error as { code?: string }).code ?? "")) throw error;
  };
}
