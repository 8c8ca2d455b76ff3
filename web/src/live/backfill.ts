// Fills the charts' past once, when the page opens, from what the server has stored. Best effort: a
// server that cannot answer leaves the charts to fill by themselves.
import { postJson } from "../lib/api";
import { parseTime } from "../lib/format";
import type { Column, Frames } from "./frames";
import { WINDOWS, type LiveStore } from "./store";

type Row = Record<string, unknown>;

const WIDTH_S = Math.max(...WINDOWS);

const number = (value: unknown): number | null => (typeof value === "number" ? value : null);

/** Turns rows, in any order, into rising times and columns and puts them in front of `frames`. */
function put(frames: Frames, rows: Row[], read: (row: Row) => Record<string, unknown>): void {
    const points = new Map<number, Record<string, unknown>>();
    for (const row of rows) {
        const ms = parseTime(row["timestamp"]);
        if (ms !== null) {
            points.set(ms / 1000, { ...points.get(ms / 1000), ...read(row) });
        }
    }
    const times = [...points.keys()].sort((a, b) => a - b);
    const columns: Record<string, Column> = {};
    times.forEach((time, i) => {
        for (const [name, value] of Object.entries(points.get(time) ?? {})) {
            columns[name] ??= new Array<number | null>(times.length).fill(null);
            columns[name][i] = number(value);
        }
    });
    frames.prepend(times, columns);
}

async function backfillRows(store: LiveStore, from: string): Promise<void> {
    const { data } = await postJson<{ data: Row[] }>("api/metrics/history", {
        start_time: from,
        metric_types: ["system", "strategy", "execution"],
    });
    const of = (type: string) => data.filter((row) => row["type"] === type);
    put(store.host, of("system"), (row) => ({
        cpu: row["cpu_percent"], memory: row["memory_percent"], disk: row["disk_usage_percent"],
    }));
    put(store.strategies, of("strategy"), (row) =>
        ({ [String(row["strategy_name"])]: row["pnl"] }));
    put(store.execution, of("execution"), (row) => {
        const fillRate = number(row["fill_rate"]);
        return {
            fillRate: fillRate === null ? null : fillRate > 1 ? fillRate : fillRate * 100,
            latency: row["avg_latency_ms"],
        };
    });
}

async function backfillMarket(store: LiveStore, from: string): Promise<void> {
    const { rows } = await postJson<{ rows: unknown[][] }>("api/v1/sql", {
        sql: "SELECT max(timestamp) AS newest, symbol, " +
            "arg_max(last_price, timestamp), arg_max(bid, timestamp), arg_max(ask, timestamp), " +
            "arg_max(spread_bps, timestamp), max(volume) FROM market_data " +
            `WHERE timestamp >= TIMESTAMP '${from.replace("T", " ").replace("Z", "")}' ` +
            "GROUP BY date_trunc('second', timestamp), symbol ORDER BY newest",
    });
    const bySymbol = new Map<string, Row[]>();
    for (const [timestamp, symbol, last, bid, ask, spread, volume] of rows) {
        const list = bySymbol.get(String(symbol)) ?? [];
        list.push({ timestamp, last, bid, ask, spread, volume });
        bySymbol.set(String(symbol), list);
    }
    for (const [name, list] of bySymbol) {
        const track = store.symbols.get(name);
        if (track) {
            put(track.coarse, list, ({ last }) => ({ last }));
            if (track.fine) {
                put(track.fine, list, ({ last, bid, ask, spread, volume }) =>
                    ({ last, bid, ask, spread, volume }));
            }
        }
    }
}

/** Call after the first frame. */
export async function backfill(store: LiveStore): Promise<void> {
    const from = new Date((store.serverNow(null) - WIDTH_S) * 1000).toISOString();
    await Promise.allSettled([backfillRows(store, from), backfillMarket(store, from)]);
}
