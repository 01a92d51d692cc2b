/**
 * Makes tables of ratios from outcomes.
 */
import type { Outcome } from "./measure.ts";
import { middle } from "./measure.ts";
import type { Contender, Figure, Workload } from "./workloads.ts";
import { FIGURES } from "./workloads.ts";

/** The outcomes of one workload on one runtime; the others are measured by the first contender. */
export interface Result {
  readonly workload: Pick<Workload, "title" | "figures">;
  readonly runtime: string;
  readonly contenders: readonly Pick<Contender, "title">[];
  /** By contender, then by round. */
  readonly outcomes: readonly (readonly Outcome[])[];
}

/** Gives the lines of one result: medians, and in brackets the median of the ratios to the first contender. */
export function lines({ workload, runtime, contenders, outcomes }: Result): string[] {
  const [first = []] = outcomes;
  return contenders.map(({ title }, index) => {
    const own = outcomes[index] ?? [];
    const cells = workload.figures.map((name) => {
      const figure: Figure = FIGURES[name];
      const value = middle(own.map(figure.of));
      const shown = `${figure.title} ${short(value)} ${figure.unit}`;
      return figure.absolute ? shown : `${shown} (${short(ratio(own, first, figure))}×)`;
    });
    return `  ${runtime.padEnd(5)} ${title.padEnd(26)} ${cells.join("   ")}`;
  });
}

const COLUMNS = [
  ["Node", "node", "@x/jsonrpc"],
  ["Bun", "bun", "@x/jsonrpc"],
  ["`Deno.serve`", "deno", "@x/jsonrpc"],
  ["Deno through `./node`", "deno", "@x/jsonrpc through ./node"],
] as const;

/** Makes a Markdown table with the module's ratios of the most telling figure. */
export function markdown(results: readonly Result[]): string {
  const titles = [...new Set(results.map(({ workload }) => workload.title))];
  const rows = titles.flatMap((title) => {
    const own = results.filter(({ workload }) => workload.title === title);
    return (own[0]?.workload.figures ?? []).slice(0, 1).map((name) => {
      const cells = COLUMNS.map(([, runtime, contender]) => {
        const result = own.find((each) => each.runtime === runtime);
        const index = result?.contenders.findIndex((each) => each.title === contender) ?? -1;
        if (result === undefined || index === -1) return "–";
        const [first = []] = result.outcomes;
        const outcomes = result.outcomes[index] ?? [];
        const figure: Figure = FIGURES[name];
        if (figure.absolute) return short(middle(outcomes.map(figure.of)));
        return short(ratio(outcomes, first, figure));
      });
      return [`${title}: ${FIGURES[name].title}`, ...cells];
    });
  });
  return table("workload", rows);
}

/** Makes a Markdown table of how many calls the module answers while another library answers one. */
export function peersMarkdown(results: readonly Result[]): string {
  const titles = [...new Set(results.map(({ workload }) => workload.title))];
  const rows = titles.flatMap((title) => {
    const own = results.filter(({ workload }) => workload.title === title);
    const all = new Set(own.flatMap(({ contenders }) => contenders.map((each) => each.title)));
    return [...all.difference(NO_PEERS)].map((peer) => {
      const cells = COLUMNS.map(([, runtime, contender]) => {
        const result = own.find((each) => each.runtime === runtime);
        const [ours, theirs] = [contender, peer].map((each) => outcomesOf(result, each));
        return ours && theirs ? short(ratio(ours, theirs, FIGURES.rate)) : "–";
      });
      return [`${title}: ${peer}`, ...cells];
    });
  });
  return table("times the calls", rows);
}

const NO_PEERS = new Set(["raw", "floor", "loop", "publish", ...COLUMNS.map(([, , own]) => own)]);

function outcomesOf(result: Result | undefined, title: string): readonly Outcome[] | undefined {
  return result?.outcomes[result.contenders.findIndex((each) => each.title === title)];
}

function table(corner: string, rows: readonly (readonly string[])[]): string {
  const head = [corner, ...COLUMNS.map(([title]) => title)];
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

/** Gives the lines of a result whose contenders differ by a few percent from the first. */
export function percentages({ workload, runtime, contenders, outcomes }: Result): string {
  const [first = []] = outcomes;
  const rows = contenders.map(({ title }, index) => {
    const own = outcomes[index] ?? [];
    const cells = workload.figures.map((name) => {
      const figure: Figure = FIGURES[name];
      const percent = (100 * (ratio(own, first, figure) - 1)).toFixed(1);
      return `${figure.title} ${short(middle(own.map(figure.of)))} ${figure.unit} (${percent} %)`;
    });
    return `  ${runtime.padEnd(5)} ${title.padEnd(26)} ${cells.join("   ")}`;
  });
  return [`${workload.title}, ${first.length} rounds`, ...rows].join("\n");
}

/** Compares round by round, so that a machine that is busy for a while slows both sides of a ratio. */
function ratio(own: readonly Outcome[], first: readonly Outcome[], { of }: Figure): number {
  return middle(own.map((outcome, round) => of(outcome) / of(first[round] ?? outcome)));
}

function short(value: number): string {
  if (!Number.isFinite(value)) return "–";
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
