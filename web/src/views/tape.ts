// The newest trades, as they come.
import { getJson } from "../lib/api";
import { h } from "../lib/dom";
import { clock, fixed, integer, parseTime, price } from "../lib/format";
import { Poll } from "../lib/poll";
import { KeyedTable, type TableColumn } from "../lib/table";
import { arrow, emptyState, panel } from "../lib/ui";
import { trade, type Trade } from "../live/shapes";
import type { LiveStore } from "../live/store";
import type { LivePanel, RenderContext } from "./live";

const ROWS_MAX = 30;
const RELOAD_MS = 30_000; // the stream has only the newest few, so gaps are filled now and then

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
    private streamed = false;
    private loadedAt = -Infinity;
    private newest: Trade[] = [];
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
    private readonly poll = new Poll(() => this.load(), 1000);

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

    render(store: LiveStore, context: RenderContext): void {
        const trades = store.snapshot?.trades;
        this.streamed = Boolean(trades);
        if (trades) {
            this.merge(trades);
        }
        if (trades && context.slow) {
            this.draw();
        }
    }

    private async load(): Promise<void> {
        if (this.streamed && performance.now() - this.loadedAt < RELOAD_MS) {
            return;
        }
        try {
            const { trades } = await getJson<{ trades: unknown[] }>(
                `api/trades/?limit=${ROWS_MAX}`);
            this.loadedAt = performance.now();
            this.merge(trades.map(trade));
            this.draw();
        } catch {
            // the connection's state is shown elsewhere; the trades stay as they were
        }
    }

    private merge(trades: Trade[]): void {
        if (trades.every((t, at) => this.newest[at]?.trade_id === t.trade_id)) {
            return;
        }
        const byId = new Map([...this.newest, ...trades].map((t) => [t.trade_id, t]));
        this.newest = [...byId.values()]
            .sort((a, b) => (a.timestamp < b.timestamp ? 1 : -1))
            .slice(0, ROWS_MAX);
    }

    private draw(): void {
        this.table.update(this.newest);
        this.empty.hidden = this.newest.length > 0;
        this.table.root.hidden = this.newest.length === 0;
    }
}
