// What the history of each kind of data looks like: which figures make which chart. Pure.
import type { AlignedData } from "uplot";
import type { ChartOptions, ChartSeries } from "../lib/chart";
import {
    compact, fixed, integer, millis, parseTime, percent, price, signed, stepDecimals,
} from "../lib/format";
import type { Column } from "../live/frames";

export type Row = Record<string, unknown>;

export interface Plot {
    title: string;
    options: ChartOptions;
    data: AlignedData;
}

type Format = (value: number | null) => string;

const LINES_MAX = 8;

const percentMark = (value: number, step: number): string =>
    `${fixed(value, stepDecimals(step))}%`;

const number = (value: unknown): number | null =>
    typeof value === "number" && Number.isFinite(value) ? value : null;

/** Rows by time, oldest first: the times, and for each the rows of that time. */
function byTime(rows: Row[]): [number[], Row[][]] {
    const groups = new Map<number, Row[]>();
    for (const row of rows) {
        const ms = parseTime(row["timestamp"]);
        if (ms !== null) {
            const group = groups.get(ms / 1000);
            if (group) {
                group.push(row);
            } else {
                groups.set(ms / 1000, [row]);
            }
        }
    }
    const times = [...groups.keys()].sort((a, b) => a - b);
    return [times, times.map((time) => groups.get(time) ?? [])];
}

/** One line for each value of `key`, e.g. the PnL of each strategy. */
function linesBy(rows: Row[], key: string, value: string): [string[], AlignedData] {
    const names = [...new Set(rows.map((row) => String(row[key])))].sort().slice(0, LINES_MAX);
    const [times, groups] = byTime(rows);
    const columns = names.map((name): Column => groups.map((group) => {
        const row = group.find((r) => String(r[key]) === name);
        return row ? number(row[value]) : null;
    }));
    return [names, [times, ...columns]];
}

/** One line for each named figure of rows that are alone at their time. */
function linesOf(rows: Row[], values: string[], factor = 1): AlignedData {
    const [times, groups] = byTime(rows);
    return [times, ...values.map((value): Column => groups.map((group) => {
        const found = number(group[0]?.[value]);
        return found === null ? null : found * factor;
    }))];
}

function plot(title: string, series: ChartSeries[], data: AlignedData,
              more: Partial<ChartOptions> = {}): Plot {
    return {
        title,
        data,
        options: {
            label: `${title} over time`, height: 210, series, zoom: true, sync: "history",
            spanGaps: true, ...more,
        },
    };
}

function line(label: string, color: number, format: Format, more: Partial<ChartSeries> = {}) {
    return { label, color: `s${color}`, format, ...more };
}

const named = (names: string[], format: Format): ChartSeries[] =>
    names.map((name, i) => line(name, i + 1, format, { dash: i % 2 === 1 }));

/** One symbol: price in its range, what was traded, spread. Several: change in percent. */
function market(rows: Row[]): Plot[] {
    const symbols = new Set(rows.map((row) => row["symbol"]));
    if (symbols.size > 1) {
        const [names, data] = linesBy(rows, "symbol", "avg_price");
        const [times, ...columns] = data as [number[], ...Column[]];
        const changes = columns.map((column): Column => {
            const first = column.find((v) => v !== null && v !== 0) ?? null;
            return column.map((v) => (v === null || first === null ? null : (v / first - 1) * 100));
        });
        return [plot("Change of price", named(names, (v) => `${signed(v, 2)} %`),
            [times, ...changes], { height: 300, yFormat: percentMark })];
    }
    const prices = linesOf(rows, ["avg_price", "high", "low"]);
    return [
        plot("Price", [
            line("Average", 1, price), line("High", 1, price, { hidden: true }),
            line("Low", 1, price, { hidden: true }),
        ], prices, {
            height: 280,
            yFormat: (v, step) => fixed(v, stepDecimals(step)),
            bands: [{ series: [2, 3], color: "s1-fill" }],
        }),
        plot("Traded volume", [line("Volume", 2, compact, { bars: true })],
            linesOf(rows, ["total_volume"]), { height: 130, yZero: true }),
        plot("Spread", [line("Average spread, bps", 4, (v) => fixed(v, 2))],
            linesOf(rows, ["avg_spread"]), { height: 130, yZero: true }),
    ];
}

function strategies(rows: Row[]): Plot[] {
    const of = (title: string, value: string, format: Format, height: number) => {
        const [names, data] = linesBy(rows, "strategy_name", value);
        return plot(title, named(names, format), data, { height });
    };
    return [
        of("Profit and loss", "pnl", (v) => signed(v, 2), 280),
        of("Profit and loss of the day", "daily_pnl", (v) => signed(v, 2), 180),
        of("Open positions", "positions", integer, 130),
    ];
}

function executions(rows: Row[]): Plot[] {
    const largest = Math.max(0, ...rows.slice(0, 1000).map((r) => number(r["fill_rate"]) ?? 0));
    return [
        plot("Orders", [
            line("Submitted", 1, integer), line("Filled", 3, integer),
            line("Cancelled", 2, integer, { dash: true }),
            line("Rejected", 6, integer, { dash: true }),
        ], linesOf(rows, [
            "orders_submitted", "orders_filled", "orders_cancelled", "orders_rejected",
        ]), { yZero: true }),
        plot("Fill rate", [line("Fill rate", 1, percent)],
            linesOf(rows, ["fill_rate"], largest > 1 ? 1 : 100),
            { height: 150, yFormat: percentMark }),
        plot("Latency", [line("Average", 6, millis)], linesOf(rows, ["avg_latency_ms"]),
            { height: 150, yZero: true }),
    ];
}

function hosts(rows: Row[]): Plot[] {
    return [plot("Usage", [
        line("CPU", 1, percent), line("Memory", 2, percent),
        line("Disk", 3, percent, { dash: true }),
    ], linesOf(rows, ["cpu_percent", "memory_percent", "disk_usage_percent"]),
    { height: 320, yRange: [0, 100], yFormat: (v) => `${v}%` })];
}

export const historyTypes: Record<string, { label: string; plots: (rows: Row[]) => Plot[] }> = {
    market_data: { label: "Market", plots: market },
    strategy: { label: "Strategies", plots: strategies },
    execution: { label: "Execution", plots: executions },
    system: { label: "Host", plots: hosts },
};

/** A chart of a SQL answer whose first column is a time and that has numbers; null otherwise. */
export function plotOfAnswer(columns: { name: string; type: string }[],
                             rows: unknown[][]): Plot | null {
    const numeric = columns
        .map((column, i) => ({ ...column, i }))
        .filter(({ i }) => i > 0 && rows.some((row) => typeof row[i] === "number"))
        .slice(0, LINES_MAX);
    const isTime = /^TIMESTAMP|^DATE/.test(columns[0]?.type ?? "");
    if (rows.length < 2 || numeric.length === 0 || !isTime) {
        return null;
    }
    const points = rows.map((row): [number | null, unknown[]] => [parseTime(row[0]), row])
        .filter((point): point is [number, unknown[]] => point[0] !== null)
        .sort((a, b) => a[0] - b[0])
        .filter(([time], i, all) => i === 0 || time > (all[i - 1]?.[0] ?? 0));
    const data: AlignedData = [
        points.map(([ms]) => ms / 1000),
        ...numeric.map(({ i }): Column => points.map(([, row]) => number(row[i]))),
    ];
    const series = numeric.map(({ name }, i) =>
        line(name, i + 1, (v) => fixed(v, 3), { dash: i % 2 === 1 }));
    return plot("Result", series, data, { height: 220 });
}
