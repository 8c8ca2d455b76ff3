// Credits by time and by API, run or endpoint, made ready for a chart of stacked bars. Pure.
import { parseTime } from "../lib/format";
import type { Column } from "../live/frames";
import { figure, list, object } from "./shapes";

export type Dimension = "api" | "run_id" | "endpoint";

export interface Totals {
    name: string;
    calls: number;
    credits: number;
    successRate: number | null; // 0 to 1
    p95: number | null; // ms
}

export interface Stacks {
    names: string[]; // the most expensive first; "other" last
    times: number[]; // Unix seconds, every step of the range
    columns: Column[]; // of each name
}

export const STACKS_MAX = 7;
export const OTHER = "other";
export const NO_NAME = "(none)";

const columnOf: Record<Dimension, string> = {
    api: "api_name", run_id: "run_id", endpoint: "endpoint",
};

function nameOf(group: Record<string, unknown>, dimension: Dimension): string {
    const name = group[columnOf[dimension]] ?? group[dimension];
    return typeof name === "string" && name !== "" ? name : NO_NAME;
}

export function totals(answer: unknown, dimension: Dimension | null): Totals[] {
    const json = object(answer);
    const groups = dimension === null ? [json] : list(json["groups"]).map(object);
    return groups.map((group) => ({
        name: dimension === null ? "" : nameOf(group, dimension),
        calls: figure(group["total_events"] ?? group["count"]) ?? 0,
        credits: figure(group["total_credits"] ?? group["credits"]) ?? 0,
        successRate: figure(group["success_rate"]),
        p95: figure(group["p95_latency"] ?? group["p95"]),
    })).sort((a, b) => b.credits - a.credits || (a.name < b.name ? -1 : 1));
}

/** The names that get a bar of their own; the others share one. */
export function namesOf(all: Totals[]): string[] {
    const spent = all.filter((t) => t.credits !== 0).map((t) => t.name);
    return spent.length > STACKS_MAX + 1 ? [...spent.slice(0, STACKS_MAX), OTHER] : spent;
}

/** Groups of `dimension` and hour or day, over all steps between two times (Unix seconds). */
export function stacks(answer: unknown, dimension: Dimension, names: string[],
                       fromS: number, toS: number, stepS: number): Stacks {
    const first = Math.floor(fromS / stepS) * stepS;
    const steps = Math.max(1, Math.ceil((toS - first) / stepS));
    const times = Array.from({ length: steps }, (_, i) => first + i * stepS);
    const columns = names.map((): Column => new Array<number | null>(steps).fill(0));
    for (const item of list(object(answer)["groups"])) {
        const group = object(item);
        const at = parseTime(group["hour"] ?? group["day"] ?? group["timestamp"]);
        const step = at === null ? -1 : Math.floor((at / 1000 - first) / stepS);
        const own = names.indexOf(nameOf(group, dimension));
        const column = columns[own >= 0 ? own : names.indexOf(OTHER)];
        if (column && step >= 0 && step < steps) {
            column[step] = (column[step] ?? 0) +
                (figure(group["total_credits"] ?? group["credits"]) ?? 0);
        }
    }
    return { names, times, columns };
}
