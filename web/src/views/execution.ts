// Execution: what became of today's orders, and how long they took.
import { Chart } from "../lib/chart";
import { h, show } from "../lib/dom";
import { fixed, integer, millis, percent, stepDecimals } from "../lib/format";
import { emptyState, panel, Stat, stats } from "../lib/ui";
import type { Execution } from "../live/shapes";
import type { LiveStore } from "../live/store";
import type { LivePanel, RenderContext } from "./live";

const parts: [key: "fills" | "cancelled" | "rejected", label: string, color: string][] = [
    ["fills", "Filled", "s3"],
    ["cancelled", "Cancelled", "s2"],
    ["rejected", "Rejected", "s6"],
];

export class ExecutionPanel implements LivePanel {
    readonly root: HTMLElement;
    private readonly orders = new Stat("Orders today", { big: true });
    private readonly fillRate = new Stat("Fill rate", { swatch: "s1", big: true });
    private readonly slippage = new Stat("Slippage", { big: true, title: "Average" });
    private readonly segments = parts.map(([, , color]) => {
        const element = h("span", { class: "funnel-part" });
        element.style.setProperty("--swatch", `var(--${color})`);
        return element;
    });
    private readonly counts = parts.map(([, label, color]) => new Stat(label, { swatch: color }));
    private readonly p50 = new Stat("p50", { swatch: "s1" });
    private readonly p95 = new Stat("p95", { swatch: "s2" });
    private readonly p99 = new Stat("p99", { swatch: "s6" });
    private readonly average = new Stat("average", { swatch: "s8" });
    private readonly rates = new Chart({
        label: "Fill rate in percent over time",
        height: 84, legend: false, sync: "live",
        yFormat: (v, step) => `${fixed(v, stepDecimals(step))}%`,
        series: [{ label: "Fill rate", color: "s1", format: percent, fill: true }],
    });
    private readonly latency = new Chart({
        label: "Latency in milliseconds over time: average and percentiles",
        height: 96, legend: false, sync: "live", yZero: true,
        series: [
            { label: "p50", color: "s1", format: millis },
            { label: "p95", color: "s2", format: millis },
            { label: "p99", color: "s6", format: millis },
            { label: "average", color: "s8", format: millis, dash: true },
        ],
    });
    private readonly body: HTMLElement;
    private readonly empty = emptyState("No orders yet", "execution_metrics", {
        orders_submitted: 120, orders_filled: 113, orders_cancelled: 5, orders_rejected: 2,
        fill_rate: 0.942, avg_latency_ms: 1.8, avg_slippage_bps: 0.6,
    });

    constructor() {
        this.body = h("div", { class: "stack" },
            stats(this.orders, this.fillRate, this.slippage),
            h("div", { class: "funnel", "aria-hidden": "true" }, this.segments),
            stats(...this.counts),
            this.rates.root,
            h("h3", null, "Latency of today's trades"),
            stats(this.p50, this.p95, this.p99, this.average),
            this.latency.root);
        this.empty.hidden = true;
        this.root = panel("Execution", "execution", [], this.empty, this.body);
    }

    show(): void {}

    hide(): void {}

    render(store: LiveStore, context: RenderContext): void {
        const execution = store.snapshot?.execution ?? null;
        show(this.body, execution !== null);
        show(this.empty, execution === null && store.snapshot !== null);
        if (!execution) {
            return;
        }
        this.orders.set(integer(execution.orders));
        this.fillRate.set(percent(execution.fillRate === null ? null : execution.fillRate * 100));
        this.slippage.set(`${fixed(execution.slippage, 2)} bps`);
        this.renderFunnel(execution);
        this.p50.set(millis(execution.p50));
        this.p95.set(millis(execution.p95));
        this.p99.set(millis(execution.p99));
        this.average.set(millis(execution.latency));
        if (!context.charts) {
            return;
        }
        const range: [number, number] = [context.from, context.to];
        this.rates.setData(store.execution.view(context.from, ["fillRate"]), range);
        this.latency.setData(
            store.execution.view(context.from, ["p50", "p95", "p99", "latency"]), range);
    }

    private renderFunnel(execution: Execution): void {
        const orders = execution.orders ?? 0;
        parts.forEach(([key], i) => {
            const value = execution[key];
            const share = orders > 0 && value !== null ? (value / orders) * 100 : 0;
            this.segments[i]?.style.setProperty("flex-basis", `${share.toFixed(2)}%`);
            this.counts[i]?.set(integer(value));
        });
    }
}
