// Credits over time as stacked bars, by API, run or endpoint, and the same as a table.
import { getJson, messageOf } from "../lib/api";
import { Chart } from "../lib/chart";
import { h, setText } from "../lib/dom";
import { compact, integer, millis, percent } from "../lib/format";
import { KeyedTable } from "../lib/table";
import { panel, problemLine, segmented } from "../lib/ui";
import { namesOf, NO_NAME, OTHER, stacks, totals, type Dimension, type Totals } from "./stacks";
import { credits } from "./words";

const HOUR_S = 3600;
const DAY_S = 86400;

interface Range {
    label: string;
    spanS: number;
    stepS: number;
    by: string;
}

const dayRange: Range = { label: "24 h", spanS: DAY_S, stepS: HOUR_S, by: "hour" };
const ranges: Record<string, Range> = {
    "24h": dayRange,
    "7d": { label: "7 d", spanS: 7 * DAY_S, stepS: HOUR_S, by: "hour" },
    "30d": { label: "30 d", spanS: 30 * DAY_S, stepS: DAY_S, by: "day" },
};

export class CreditsPanel {
    readonly root: HTMLElement;
    private dimension: Dimension = "api";
    private range = "24h";
    private asked = 0;
    private readonly problem = problemLine();
    private readonly note = h("p", { class: "result-note", role: "status" });
    private readonly chart = new Chart({
        label: "Credits over time, stacked", height: 250, series: [], yZero: true, stacked: true,
        yFormat: (v) => compact(v),
    });
    private readonly table = new KeyedTable<Totals>({
        caption: "Credits of the range, the most expensive first",
        key: (t) => t.name,
        empty: "Nothing was booked in this range.",
        height: "totals-table",
        columns: [
            { label: "Name", heading: true, tone: () => "name-cell", text: (t) => t.name },
            { label: "Credits", numeric: true, sort: (t) => t.credits,
                text: (t) => credits(t.credits) },
            { label: "Calls", numeric: true, sort: (t) => t.calls, text: (t) => integer(t.calls) },
            { label: "Succeeded", numeric: true, hideNarrow: true, sort: (t) => t.successRate,
                text: (t) => percent(t.successRate === null ? null : t.successRate * 100) },
            { label: "p95", numeric: true, hideNarrow: true, sort: (t) => t.p95,
                text: (t) => millis(t.p95) },
        ],
    });

    /** `onTotal` is told what all calls of the range came to. */
    constructor(private readonly onTotal: (total: Totals, range: string) => void) {
        this.root = panel("Credits over time", "credits", [
            segmented("Credits by", [["api", "API"], ["run_id", "Run"], ["endpoint", "Endpoint"]],
                this.dimension, (value) => {
                    this.dimension = value as Dimension;
                    void this.load();
                }),
            segmented("Range", Object.entries(ranges).map(([id, r]) => [id, r.label]), this.range,
                (value) => {
                    this.range = value;
                    void this.load();
                }),
        ], this.problem.root, this.chart.root, this.table.root, this.note);
    }

    async load(): Promise<void> {
        const asked = ++this.asked;
        const { spanS, stepS, by, label } = ranges[this.range] ?? dayRange;
        const dimension = this.dimension;
        const toS = Math.floor(Date.now() / 1000);
        const fromS = Math.floor((toS - spanS) / stepS) * stepS + stepS;
        const from = new Date(fromS * 1000).toISOString();
        const ask = (more: string) =>
            getJson<unknown>(`api/v1/events/stats?from=${from}${more}`);
        try {
            const [sum, byName, byTime] = await Promise.all([
                ask(""), ask(`&group_by=${dimension}`), ask(`&group_by=${dimension},${by}`)]);
            if (asked !== this.asked) {
                return; // another question is under way
            }
            const all = totals(byName, dimension);
            for (const total of totals(sum, null)) {
                this.onTotal(total, label);
            }
            this.draw(all, byTime, dimension, fromS, toS, stepS);
            this.problem.set("");
        } catch (error) {
            if (asked === this.asked) {
                this.problem.set(`Credits over time are not known: ${messageOf(error)}`);
            }
        }
    }

    private draw(all: Totals[], byTime: unknown, dimension: Dimension, fromS: number, toS: number,
                 stepS: number): void {
        const names = namesOf(all);
        const drawn = stacks(byTime, dimension, names, fromS, toS, stepS);
        this.chart.setSeries(drawn.names.map((name, i) => ({
            label: name, color: name === OTHER ? "s8" : `s${i + 1}`, bars: true,
            format: (v) => (v === null ? "" : compact(v)),
        })));
        this.chart.setData([drawn.times, ...drawn.columns],
            [fromS, Math.max(toS, (drawn.times.at(-1) ?? toS) + stepS)]);
        this.table.update(all);
        const what = stepS === HOUR_S ? "hour" : "day";
        setText(this.note, names.includes(NO_NAME)
            ? `A bar is one ${what} (UTC). "${NO_NAME}" are calls without it.`
            : `A bar is one ${what} (UTC).`);
    }
}
