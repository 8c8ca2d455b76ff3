// The market: a list of symbols to choose from, and the chosen one's price between bid and ask, its
// spread and what was traded.
import { Chart } from "../lib/chart";
import { h, setAttr, setText, show, svg } from "../lib/dom";
import { compact, fixed, integer, price, signed, stepDecimals } from "../lib/format";
import { KeyedTable } from "../lib/table";
import { arrow, emptyState, panel, Stat, stats, tone } from "../lib/ui";
import { perSecond, type Column } from "../live/frames";
import type { LiveStore, SymbolTrack } from "../live/store";
import type { LivePanel, RenderContext } from "./live";

const ROWS_MAX = 200;
const SPARK_WIDTH = 60;
const SPARK_HEIGHT = 16;

/** The path of a small line through a column, in a box of SPARK_WIDTH by SPARK_HEIGHT. */
function sparkPath(times: number[], values: Column, from: number, to: number): string {
    const known = values.filter((v): v is number => v !== null);
    const low = Math.min(...known);
    const span = Math.max(...known) - low || 1;
    let path = "";
    let pen = "M";
    times.forEach((time, i) => {
        const value = values[i] ?? null;
        if (value === null || time < from) {
            pen = value === null ? "M" : pen;
            return;
        }
        const x = ((time - from) / (to - from)) * SPARK_WIDTH;
        const y = SPARK_HEIGHT - 2 - ((value - low) / span) * (SPARK_HEIGHT - 4);
        path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
        pen = "L";
    });
    return path;
}

export class MarketPanel implements LivePanel {
    readonly root: HTMLElement;
    private selected: string | null = null;
    private from = 0;
    private to = 1;
    private filter = "";
    private readonly body: HTMLElement;
    private readonly empty: HTMLElement;
    private readonly more = h("p", { class: "hint list-note" });
    private readonly search = h("input", {
        type: "search", placeholder: "Find a symbol", "aria-label": "Find a symbol",
        autocomplete: "off", spellcheck: "false",
    });
    private readonly title = h("span", { class: "symbol-name" });
    private readonly last = h("span", { class: "symbol-price" });
    private readonly change = h("span", { class: "symbol-change" });
    private readonly bid = new Stat("Bid");
    private readonly ask = new Stat("Ask");
    private readonly spread = new Stat("Spread", { title: "(ask − bid) / last, in basis points" });
    private readonly volume = new Stat("Volume", { title: "Running total" });
    private readonly count = new Stat("Trades", { title: "Running total" });
    private readonly summary = h("span", { class: "faint" });
    private readonly prices: Chart;
    private readonly spreads: Chart;
    private readonly volumes: Chart;
    private readonly table: KeyedTable<SymbolTrack>;

    constructor() {
        [this.prices, this.spreads, this.volumes] = this.makeCharts();
        this.table = this.makeTable();
        this.search.addEventListener("input", () => this.onFilter());
        this.search.addEventListener("keydown", (event) => {
            if (event.key === "Enter") {
                event.preventDefault();
                this.body.querySelector<HTMLElement>(".watch tbody button")?.click();
            }
        });
        const chosen = h("div", { class: "chosen" },
            h("div", { class: "symbol-head" },
                h("div", { class: "symbol-quote" }, this.title, this.last, this.change),
                stats(this.bid, this.ask, this.spread, this.volume, this.count)),
            this.prices.root,
            h("div", { class: "chart-pair" },
                h("div", null, h("h3", null, "Spread, bps"), this.spreads.root),
                h("div", null, h("h3", null, "Traded each second"), this.volumes.root)));
        const watch = h("div", { class: "watch" }, this.search, this.table.root, this.more);
        this.body = h("div", { class: "market-body", hidden: true }, chosen, watch);
        this.empty = emptyState("No market data yet", "market_data", {
            symbol: "AAPL", last_price: 187.25, bid: 187.24, ask: 187.26, volume: 1200, trades: 14,
        });
        this.empty.hidden = true;
        this.root = panel("Market", "market", [this.summary], this.empty, this.body);
    }

    private makeCharts(): [Chart, Chart, Chart] {
        return [
            new Chart({
                label: "Last price with bid and ask over time",
                height: 214,
                legend: false,
                sync: "live",
                yFormat: (v, step) => fixed(v, stepDecimals(step)),
                bands: [{ series: [3, 2], color: "s1-fill" }],
                series: [
                    { label: "Last", color: "s1", format: price },
                    { label: "Bid", color: "s1", format: price, hidden: true },
                    { label: "Ask", color: "s1", format: price, hidden: true },
                ],
            }),
            new Chart({
                label: "Spread in basis points over time",
                height: 96, legend: false, sync: "live", yZero: true,
                series: [{ label: "Spread", color: "s4", format: (v) => fixed(v, 2), step: true }],
            }),
            new Chart({
                label: "Volume traded in each second",
                height: 96, legend: false, sync: "live", yZero: true,
                series: [{ label: "Volume", color: "s2", format: compact, bars: true }],
            }),
        ];
    }

    private makeTable(): KeyedTable<SymbolTrack> {
        return new KeyedTable<SymbolTrack>({
            caption: "Symbols",
            key: (track) => track.name,
            empty: "No symbol matches.",
            sortBy: 0,
            height: "watch-table",
            columns: [
                {
                    label: "Symbol", heading: true, sort: (t) => t.name,
                    update: (cell, t) => this.updateName(cell, t),
                },
                {
                    label: "Last", numeric: true, sort: (t) => t.quote.last,
                    text: (t) => fixed(t.quote.last, t.decimals),
                },
                {
                    label: "Change", numeric: true, title: "Over the window shown",
                    sort: (t) => t.change(this.from),
                    tone: (t) => tone(t.change(this.from)),
                    text: (t) => `${signed(t.change(this.from), 2)} %`,
                },
                {
                    label: "Trend", title: "Over the window shown",
                    update: (cell, t) => this.updateSpark(cell, t),
                },
                {
                    label: "bps", numeric: true, title: "Spread in basis points",
                    sort: (t) => t.quote.spread, text: (t) => fixed(t.quote.spread, 2),
                },
                {
                    label: "Volume", numeric: true, sort: (t) => t.quote.volume,
                    text: (t) => compact(t.quote.volume),
                },
            ],
        });
    }

    private updateName(cell: HTMLTableCellElement, track: SymbolTrack): void {
        let button = cell.querySelector("button");
        if (!button) {
            button = h("button", {
                type: "button", class: "link", onclick: () => this.choose(track.name),
            }, track.name);
            cell.append(button);
        }
        const chosen = track.name === this.selected;
        setAttr(button, "aria-pressed", chosen ? "true" : "false");
        setAttr(cell, "data-chosen", chosen ? "" : null);
    }

    private updateSpark(cell: HTMLTableCellElement, track: SymbolTrack): void {
        let path = cell.querySelector("path");
        if (!path) {
            path = svg("path") as SVGPathElement;
            cell.append(svg("svg", {
                class: "spark", width: SPARK_WIDTH, height: SPARK_HEIGHT, "aria-hidden": "true",
            }, path));
        }
        const [times, last] = track.coarse.view(this.from, ["last"]);
        setAttr(path, "d", sparkPath(times, last ?? [], this.from, this.to));
    }

    private choose(name: string): void {
        this.selected = name;
        this.table.refresh();
        this.redraw?.();
    }

    /** Set by render: draws at once, also while paused. */
    private redraw: (() => void) | null = null;

    private onFilter(): void {
        this.filter = this.search.value.trim().toUpperCase();
        this.redraw?.();
    }

    show(): void {}

    hide(): void {}

    render(store: LiveStore, context: RenderContext): void {
        const some = store.symbols.size > 0;
        show(this.body, some);
        show(this.empty, !some && store.snapshot !== null);
        this.redraw = () => this.render(store, { ...context, slow: true, charts: true });
        if (!some) {
            setText(this.summary, "");
            return;
        }
        this.from = context.from;
        this.to = context.to;
        if (this.selected === null || !store.symbols.has(this.selected)) {
            this.selected = [...store.symbols.keys()].sort()[0] ?? null;
        }
        if (context.slow) {
            this.renderList(store);
        } else {
            this.table.refresh();
        }
        const track = this.selected === null ? null : store.want(this.selected);
        if (track) {
            this.renderChosen(track, context);
        }
    }

    private renderList(store: LiveStore): void {
        const all = [...store.symbols.values()];
        const matching = all.filter((t) => t.name.toUpperCase().includes(this.filter));
        matching.sort((a, b) => (a.name < b.name ? -1 : 1));
        this.table.update(matching.slice(0, ROWS_MAX));
        const left = matching.length - ROWS_MAX;
        const unseen = store.symbolsSeen - all.length;
        setText(this.more, [
            left > 0 ? `${integer(left)} more: narrow the search.` : "",
            unseen > 0 ? `${integer(unseen)} symbols are beyond what this page follows.` : "",
        ].join(" ").trim());
        const { totalVolume, totalTrades } = store.snapshot ?? {};
        setText(this.summary, `${integer(store.symbolsSeen)} symbols · ` +
            `${compact(totalTrades)} trades · volume ${compact(totalVolume)}`);
    }

    private renderChosen(track: SymbolTrack, { from, to, charts }: RenderContext): void {
        const { quote, name } = track;
        const change = track.change(from);
        setText(this.title, name);
        setText(this.last, fixed(quote.last, track.decimals));
        setText(this.change, `${arrow(change)}${signed(change, 2)} %`);
        setAttr(this.change, "class", `symbol-change ${tone(change)}`);
        this.bid.set(fixed(quote.bid, track.decimals));
        this.ask.set(fixed(quote.ask, track.decimals));
        this.spread.set(`${fixed(quote.spread, 2)} bps`);
        this.volume.set(compact(quote.volume));
        this.count.set(compact(quote.trades));
        if (charts) {
            this.renderCharts(track, from, to);
        }
    }

    private renderCharts(track: SymbolTrack, from: number, to: number): void {
        const frames = track.fine ?? track.coarse;
        const [times, last = [], bid = [], ask = [], spread = [], volume = []] =
            frames.view(from, ["last", "bid", "ask", "spread", "volume"]);
        this.prices.setData([times, last, bid, ask], [from, to]);
        this.spreads.setData([times, spread], [from, to]);
        const [seconds, amounts] = perSecond(times, volume);
        this.volumes.setData([seconds.slice(0, -1), amounts.slice(0, -1)], // the last is not over
            [from, to]);
    }
}
