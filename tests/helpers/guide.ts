/**
 * A guide as somebody follows it: its steps, with the files and commands that stand in them.
 */
import { readFileSync } from "node:fs";

/** A file that a step gives. */
export interface GuideFile {
  readonly name: string;
  readonly text: string;
  /** Whether the text is only added to what the file had before. */
  readonly added: boolean;
}

/** One part of a guide, from a heading of the second level to the next. */
export interface GuideStep {
  readonly title: string;
  readonly files: readonly GuideFile[];
  /** The lines of its shell fences, without comments. */
  readonly commands: readonly string[];
}

/** Reads the steps of a page. A fence is a file if its first line is a comment that names one. */
export function stepsOf(page: string): GuideStep[] {
  const text = readFileSync(new URL(`../../${page}`, import.meta.url), "utf8");
  return text.split(/^## /m).map((part) => ({
    title: part.slice(0, part.indexOf("\n")),
    files: fencesOf(part, /^(?:ts ignore|html)$/).flatMap(fileOf),
    commands: fencesOf(part, /^sh$/).flatMap((fence) => fence.trim().split("\n"))
      .map((line) => line.replace(/ +#.*$/, "")),
  }));
}

function fencesOf(part: string, language: RegExp): string[] {
  return [...part.matchAll(/^```(.*)\n([^]*?)^```$/gm)]
    .filter(([, info = ""]) => language.test(info))
    .map(([, , text = ""]) => text);
}

function fileOf(text: string): GuideFile[] {
  const [, name, added] = /^(?:\/\/|<!--) ([\w.]+)(, added)?/.exec(text) ?? [];
  return name === undefined ? [] : [{ name, text, added: added !== undefined }];
}
