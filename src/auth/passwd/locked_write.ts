/**
 * Replacing a file so that no other writer comes between reading and writing, nothing is lost when
 * a writer dies, and readers always find a whole file.
 *
 * The lock is a folder `FILE.lock` with one file in it: what its owner is about to write. Moving
 * that file into place is at once the write and the release, since an empty lock is nobody's. The
 * lock of a dead writer is broken by deleting that file; should the writer only have been slow, it
 * has nothing left to move and begins again. So no clock is trusted with more than patience.
 *
 * @module
 */

import { mkdir, open, readdir, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

/**
 * Replaces a file by what is made of it.
 *
 * @param path The file; it may be missing, its folder may not.
 * @param rewrite Reads the file and gives its new text, or `undefined` to leave it. Called again
 * where another writer has lost patience in the meantime.
 * @param patienceMs Milliseconds for which one lock may stand before its writer counts as dead.
 * @returns Whether the file was replaced. Rejects with what `rewrite` throws, and where the file
 * cannot be written.
 */
export async function lockedWrite(
  path: string,
  rewrite: () => Promise<string | undefined>,
  patienceMs: number,
): Promise<boolean> {
  const lock = `${path}.lock`;
  for (;;) {
    const token = await acquire(lock, patienceMs);
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

// Between two looks at a lock of somebody else's; not the same for all who wait.
const LOOK_MS = 10;

/** Waits for the lock and takes it; gives the name of the file in it. */
async function acquire(lock: string, patienceMs: number): Promise<string> {
  for (;;) {
    await untilFree(lock, patienceMs);
    const token = crypto.randomUUID();
    if (await take(lock, token)) return token;
  }
}

async function untilFree(lock: string, patienceMs: number): Promise<void> {
  let since = performance.now();
  let owner = await ownerOf(lock);
  while (owner !== undefined) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS * (0.5 + Math.random())));
    const next = await ownerOf(lock);
    if (next !== owner) since = performance.now();
    else if (performance.now() - since > patienceMs) await rm(join(lock, owner), { force: true });
    owner = next;
  }
}

async function ownerOf(lock: string): Promise<string | undefined> {
  const [owner] = await readdir(lock).catch(unless("ENOENT")) ?? [];
  return owner;
}

/** Moves a folder that has its file already to where the lock is: it fits only over an empty one. */
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

/** Writes the draft and moves it into place; answers `false` where it is no longer there. */
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

/** Makes the new name last, where the system can: some cannot open folders. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r").catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close();
}

async function removeEmpty(folder: string): Promise<void> {
  await rmdir(folder).catch(unless("ENOENT", "ENOTEMPTY", "EEXIST"));
}

/** Passes over errors that were to be expected. */
function unless(...codes: string[]): (error: unknown) => undefined {
  return (error) => {
    if (!codes.includes((error as { code?: string }).code ?? "")) throw error;
  };
}
