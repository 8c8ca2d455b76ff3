// The newest trades, as they come.
import { getJson } from "../lib/api";
import { h, show } from "../lib/dom";
import { clock, fixed, integer, parseTime, price } from "../lib/format";
import { Poll } from "../lib/poll";
import { KeyedTable, type TableColumn } from "../lib/table";
import { arrow, emptyState, panel } from "../lib/ui";
import { trade, type Trade } from "../live/shapes";
import type { LiveStore } from "../live/store";
import type { LivePanel, RenderContext } from "./live";

const ROWS_MAX = 30;
const RELOAD_MS = 10_000; // frames have the newest few only; what a burst hid comes this way

export function sideColumn(): TableColumn<Trade> {
    const direction = (t: Trade) => (t.side.toLowerCase() === "buy" ? 1 : -1);
    return {
        label: "Side",
        tone: (t) => (direction(t) > 0 ? "up" : "down"),
        text: (t) => `${arrow(direction(t))}${t.side.toLowerCase()}`,
    };
}

export class TapePanel implements LivePanel {
    readonly root: HTMLElement;
    private trades = new Map<string, Trade>();
    private readonly empty = emptyState("No trades yet", "trades", {
        symbol: "AAPL", side: "buy", quantity: 100, price: 187.25, latency_ms: 1.8,
        strategy: "momentum",
    });
    private readonly table = new KeyedTable<Trade>({
        caption: "Newest trades",
        key: (t) => t.trade_id,
        empty: "",
        height: "tape-table",
        columns: [
            { label: "Time", text: (t) => clock(parseTime(t.timestamp)) },
            { label: "Symbol", heading: true, text: (t) => t.symbol },
            sideColumn(),
            { label: "Quantity", numeric: true,
                text: (t) => (Number.isInteger(t.quantity) ? integer : price)(t.quantity) },
            { label: "Price", numeric: true, text: (t) => price(t.price) },
            { label: "ms", title: "Latency", numeric: true, hideNarrow: true,
                text: (t) => fixed(t.latency_ms, 1) },
        ],
    });
    private readonly poll = new Poll(() => this.load(), RELOAD_MS);

    constructor() {
        this.empty.hidden = true;
        this.table.root.hidden = true;
        this.root = panel("Trades", "tape", [h("a", { href: "#trades" }, "All trades")], this.empty,
            this.table.root);
    }

    show(): void {
        this.poll.start();
    }

    hide(): void {
        this.poll.stop();
    }

    render(store: LiveStore, _context: RenderContext): void {
        this.take(store.snapshot?.trades ?? []);
    }

    /** Frames hold the newest few; this brings the ones before, and those of a burst. */
    private async load(): Promise<void> {
        try {
            const { trades } = await getJson<{ trades: unknown[] }>(
                `api/trades/?limit=${ROWS_MAX}`);
            this.take(trades.map(trade));
        } catch {
            // the connection's state is shown elsewhere; the trades stay as they were
        }
    }

    private take(trades: Trade[]): void {
        const fresh = trades.filter((t) => t.trade_id && !this.trades.has(t.trade_id));
        if (fresh.length > 0) {
            const newest = [...this.trades.values(), ...fresh]
                .sort((a, b) => (a.timestamp < b.timestamp ? 1 : -1)).slice(0, ROWS_MAX);
            this.trades = new Map(newest.map((t) => [t.trade_id, t]));
            this.table.update(newest);
        }
        show(this.empty, this.trades.size === 0);
        show(this.table.root, this.trades.size > 0);
    }
}
