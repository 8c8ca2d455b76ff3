// All trades, newest first, in pages, with filters; and a day's sums.
import { getJson, messageOf } from "../lib/api";
import { h, setText } from "../lib/dom";
import { clockMillis, compact, date, fixed, integer, parseTime, price } from "../lib/format";
import { Poll } from "../lib/poll";
import { KeyedTable } from "../lib/table";
import { field, panel, problemLine, select, Stat, stats, type View } from "../lib/ui";
import { trade, type Trade } from "../live/shapes";
import type { LiveStore } from "../live/store";
import { sideColumn } from "./tape";

const PAGE = 50;

interface Summary {
    count: number;
    total_volume: number;
    avg_price: number;
    avg_size: number;
    buy_count?: number;
    sell_count?: number;
}

/** A text field that suggests the symbols seen, and the names it suggests from. */
export function symbolInput(store: LiveStore, placeholder: string): HTMLElement & {
    input: HTMLInputElement;
} {
    const list = h("datalist", { id: `symbols-${Math.random().toString(36).slice(2)}` });
    const input = h("input", {
        type: "text", list: list.id, placeholder, autocomplete: "off", spellcheck: "false",
    });
    input.addEventListener("focus", () => {
        list.replaceChildren(...[...store.symbols.keys()].sort().slice(0, 500)
            .map((name) => h("option", { value: name })));
    });
    return Object.assign(h("span", { class: "with-list" }, input, list), { input });
}

export class TradesView implements View {
    readonly id = "trades";
    readonly label = "Trades";
    readonly root: HTMLElement;
    private offset = 0;
    private total = 0;
    private readonly symbol: ReturnType<typeof symbolInput>;
    private readonly side = select([["", "Both"], ["buy", "Buy"], ["sell", "Sell"]], "");
    private readonly position = h("span", { class: "position", role: "status" });
    private readonly newer = h("button", { type: "button", class: "button" }, "Newer");
    private readonly older = h("button", { type: "button", class: "button" }, "Older");
    private readonly problem = problemLine();
    private readonly count = new Stat("Trades in 24 h", { big: true });
    private readonly volume = new Stat("Value", { big: true, title: "Sum of quantity × price" });
    private readonly sides = new Stat("Buy / sell", { big: true });
    private readonly size = new Stat("Average size", { big: true });
    private readonly mean = new Stat("Average price", { big: true, title: "Of one symbol" });
    private readonly table = new KeyedTable<Trade>({
        caption: "Trades, newest first",
        key: (t) => t.trade_id,
        empty: "No trades match.",
        columns: [
            { label: "Date", hideNarrow: true, text: (t) => date(parseTime(t.timestamp)) },
            { label: "Time (UTC)", text: (t) => clockMillis(parseTime(t.timestamp)) },
            { label: "Symbol", heading: true, text: (t) => t.symbol },
            sideColumn(),
            {
                label: "Quantity", numeric: true,
                text: (t) => (Number.isInteger(t.quantity) ? integer : price)(t.quantity),
            },
            { label: "Price", numeric: true, text: (t) => price(t.price) },
            {
                label: "Value", numeric: true, hideNarrow: true,
                text: (t) => fixed(
                    t.quantity === null || t.price === null ? null : t.quantity * t.price, 2),
            },
            { label: "Latency, ms", numeric: true, text: (t) => fixed(t.latency_ms, 2) },
            {
                label: "Slippage, bps", numeric: true, hideNarrow: true,
                text: (t) => fixed(t.slippage_bps, 2),
            },
            { label: "Strategy", text: (t) => t.strategy ?? "" },
            { label: "Id", hideNarrow: true, tone: () => "faint mono", text: (t) => t.trade_id },
        ],
    });
    private readonly poll = new Poll(() => this.load(), 2000);

    constructor(store: LiveStore) {
        this.symbol = symbolInput(store, "All symbols");
        const filters = h("form", { class: "form-row", role: "search" },
            field("Symbol", this.symbol.input), this.symbol, field("Side", this.side),
            h("button", { type: "submit", class: "button primary" }, "Apply"));
        filters.addEventListener("submit", (event) => {
            event.preventDefault();
            this.go(0);
        });
        this.side.addEventListener("change", () => this.go(0));
        this.symbol.input.addEventListener("change", () => this.go(0));
        this.newer.addEventListener("click", () => this.go(this.offset - PAGE));
        this.older.addEventListener("click", () => this.go(this.offset + PAGE));
        this.root = panel("Trades", "trades", [],
            stats(this.count, this.volume, this.sides, this.size, this.mean),
            filters, this.problem.root, this.table.root,
            h("div", { class: "pager" }, this.newer, this.position, this.older));
    }

    show(): void {
        this.poll.start();
    }

    hide(): void {
        this.poll.stop();
    }

    private go(offset: number): void {
        this.offset = Math.max(0, offset);
        void this.poll.now();
    }

    private async load(): Promise<void> {
        const filter = new URLSearchParams();
        const symbol = this.symbol.input.value.trim();
        if (symbol) {
            filter.set("symbol", symbol);
        }
        const page = new URLSearchParams(filter);
        if (this.side.value) {
            page.set("side", this.side.value);
        }
        page.set("limit", String(PAGE));
        page.set("offset", String(this.offset));
        filter.set("time_range", "24h");
        try {
            const [answer, summary] = await Promise.all([
                getJson<{ trades: unknown[]; total: number }>(`api/trades/?${page}`),
                getJson<Summary>(`api/trades/stats/summary?${filter}`),
            ]);
            this.total = answer.total;
            this.table.update(answer.trades.map(trade));
            this.renderSummary(summary);
            this.renderPosition(answer.trades.length);
            this.problem.set("");
        } catch (error) {
            this.problem.set(`Trades cannot be shown: ${messageOf(error)}`);
        }
    }

    private renderSummary(summary: Summary): void {
        this.count.set(integer(summary.count));
        this.volume.set(compact(summary.total_volume));
        this.sides.set(`${compact(summary.buy_count ?? 0)} / ${compact(summary.sell_count ?? 0)}`);
        this.size.set(summary.count > 0 ? compact(summary.avg_size) : "–");
        const isOneSymbol = this.symbol.input.value.trim() !== "";
        this.mean.set(summary.count > 0 && isOneSymbol ? price(summary.avg_price) : "–");
    }

    private renderPosition(shown: number): void {
        const [first, last] = [this.offset + 1, this.offset + shown].map(integer);
        const text = shown === 0 ? "none" : `${first}–${last} of ${integer(this.total)}`;
        setText(this.position, text);
        this.newer.disabled = this.offset === 0;
        this.older.disabled = this.offset + shown >= this.total;
    }
}
