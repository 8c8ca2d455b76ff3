// Strategies: profit and loss of each as a line, everything else as a table.
import { Chart, type ChartSeries } from "../lib/chart";
import { show } from "../lib/dom";
import { compact, integer, percent, signed } from "../lib/format";
import { KeyedTable } from "../lib/table";
import { emptyState, panel, segmented, Stat, stats, tone } from "../lib/ui";
import type { Column } from "../live/frames";
import type { Strategy } from "../live/shapes";
import type { LiveStore } from "../live/store";
import type { LivePanel, RenderContext } from "./live";

interface Row extends Strategy {
    name: string;
}

/** What came on top of the first value. */
function fromFirst(column: Column): Column {
    const first = column.find((value) => value !== null) ?? 0;
    return column.map((value) => (value === null ? null : value - first));
}

const COLOURS = 8;
const ROWS_MAX = 200;

export class StrategiesPanel implements LivePanel {
    readonly root: HTMLElement;
    private readonly pnl = new Stat("Total PnL", { big: true });
    private readonly daily = new Stat("Today", { big: true });
    private readonly positions = new Stat("Positions", { big: true });
    private readonly chart = new Chart({
        label: "Profit and loss by strategy over time",
        height: 176,
        sync: "live",
        yFormat: compact,
        series: [],
    });
    private readonly table = new KeyedTable<Row>({
        caption: "Strategies",
        key: (row) => row.name,
        empty: "No strategies.",
        height: "short-table",
        sortBy: 0,
        columns: [
            { label: "Strategy", heading: true, sort: (r) => r.name, text: (r) => r.name },
            {
                label: "PnL", numeric: true, sort: (r) => r.pnl, tone: (r) => tone(r.pnl),
                text: (r) => signed(r.pnl, 2),
            },
            {
                label: "Today", numeric: true, sort: (r) => r.dailyPnl,
                tone: (r) => tone(r.dailyPnl), text: (r) => signed(r.dailyPnl, 2),
            },
            {
                label: "Pos", title: "Open positions", numeric: true, sort: (r) => r.positions,
                text: (r) => integer(r.positions),
            },
            {
                label: "Signals", numeric: true, sort: (r) => r.signals, hideNarrow: true,
                text: (r) => integer(r.signals),
            },
            {
                label: "Win", title: "Share of winning trades", numeric: true,
                sort: (r) => r.winRate,
                text: (r) => percent(r.winRate === null ? null : r.winRate * 100),
            },
        ],
    });
    private readonly totals = stats(this.pnl, this.daily, this.positions);
    private readonly empty = emptyState("No strategies yet", "strategy_metrics", {
        strategy_name: "momentum", pnl: 1250.5, daily_pnl: 310.2, positions: 3, signals: 42,
        win_rate: 0.57,
    });

    private sinceStart = false;
    private redraw: (() => void) | null = null;

    constructor() {
        this.empty.hidden = true;
        const mode = segmented("Lines show", [["total", "Total"], ["change", "Change"]], "total",
            (value) => {
                this.sinceStart = value === "change";
                this.redraw?.();
            });
        this.root = panel("Strategies", "strategies", [mode], this.empty, this.totals,
            this.chart.root, this.table.root);
    }

    show(): void {}

    hide(): void {}

    render(store: LiveStore, context: RenderContext): void {
        this.redraw = () => this.render(store, { ...context, charts: true });
        const snapshot = store.snapshot;
        const some = (snapshot?.strategies.size ?? 0) > 0;
        for (const part of [this.totals, this.chart.root, this.table.root]) {
            show(part, some);
        }
        show(this.empty, !some && snapshot !== null);
        if (!snapshot || !some) {
            return;
        }
        this.pnl.set(signed(snapshot.totalPnl, 2), tone(snapshot.totalPnl));
        this.daily.set(signed(snapshot.dailyPnl, 2), tone(snapshot.dailyPnl));
        this.positions.set(integer(snapshot.openPositions));
        if (context.slow) {
            this.table.update([...snapshot.strategies].slice(0, ROWS_MAX)
                .map(([name, strategy]) => ({ name, ...strategy })));
        }
        if (context.charts) {
            this.renderChart(store, context);
        }
    }

    private renderChart(store: LiveStore, context: RenderContext): void {
        const names = store.strategies.names();
        this.chart.setSeries(names.map((name, i): ChartSeries => ({
            label: name,
            color: `s${(i % COLOURS) + 1}`,
            format: (v) => signed(v, 2),
            dash: i % 2 === 1,
        })));
        const [times, ...totals] = store.strategies.view(context.from, names);
        this.chart.setData([times, ...(this.sinceStart ? totals.map(fromFirst) : totals)],
            [context.from, context.to]);
    }
}
