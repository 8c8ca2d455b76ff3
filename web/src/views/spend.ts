// The spend view: budgets and their breakers, credits over time, the event log, and what is
// reserved and in force. Bars and totals follow the stream, the rest is asked for.
import { getJson, messageOf } from "../lib/api";
import { h, show } from "../lib/dom";
import { integer, percent } from "../lib/format";
import { Poll } from "../lib/poll";
import { panel, Stat, stats, type View } from "../lib/ui";
import type { LiveStream } from "../live/stream";
import { ChainPanel, PricesPanel, ReservationsPanel } from "../spend/aside";
import { BudgetsPanel, StateBadge } from "../spend/budgets";
import { CreditsPanel } from "../spend/chart";
import { firstCall } from "../spend/first";
import { LogPanel } from "../spend/log";
import { budget, list, object } from "../spend/shapes";
import type { Totals } from "../spend/stacks";
import type { SpendStore } from "../spend/store";
import { credits } from "../spend/words";

const FAST_MS = 2000;
const SLOW_MS = 10000;

export class SpendView implements View {
    readonly id = "spend";
    readonly label = "Spend";
    readonly root: HTMLElement;
    private visible = false;
    private newestId = "";
    private askedMoreAt = 0;
    private readonly badge = new StateBadge();
    private readonly reserved = new Stat("Reserved now", { big: true });
    private readonly booked = new Stat("Credits", { big: true });
    private readonly calls = new Stat("Calls", { big: true });
    private readonly success = new Stat("Succeeded", { big: true });
    private readonly span = h("span", { class: "faint" });
    private readonly first = firstCall();
    private readonly budgets: BudgetsPanel;
    private readonly chart = new CreditsPanel((total, range) => this.renderTotals(total, range));
    private readonly log = new LogPanel((count, isFiltered) => this.onLog(count, isFiltered));
    private readonly reservations = new ReservationsPanel();
    private readonly prices = new PricesPanel();
    private readonly chain = new ChainPanel();
    private readonly fast = new Poll(() => this.loadFast(), FAST_MS);
    private readonly slow = new Poll(() => this.loadSlow(), SLOW_MS);

    constructor(
        private readonly store: SpendStore,
        private readonly stream: LiveStream,
    ) {
        this.budgets = new BudgetsPanel(store, () => void this.fast.now());
        const now = panel("Spending", "spending", [this.span],
            h("div", { class: "spend-now" },
                h("div", { class: "stat" }, h("span", { class: "stat-label" }, "Breaker"),
                    this.badge.root),
                stats(this.reserved, this.booked, this.calls, this.success)));
        show(this.first, false);
        const side = h("div", { class: "spend-side" }, this.chart.root, this.reservations.root);
        this.root = h("div", { class: "spend-grid" }, now, this.first, this.budgets.root, side,
            this.log.root, this.prices.root, this.chain.root);
        setInterval(() => {
            if (this.visible && !document.hidden) {
                this.reservations.draw();
                this.draw();
            }
        }, 1000);
    }

    show(): void {
        this.visible = true;
        this.stream.wantSpend(true);
        this.fast.start();
        this.slow.start();
    }

    hide(): void {
        this.visible = false;
        this.stream.wantSpend(false);
        this.store.forget();
        this.fast.stop();
        this.slow.stop();
    }

    /** A frame came; it may have a part for us. */
    frameCame(): void {
        const { frame } = this.store;
        if (!this.visible || document.hidden || !frame) {
            return;
        }
        this.draw();
        const id = frame.recent[0]?.id ?? "";
        const isNew = id !== "" && id !== this.newestId;
        if (isNew) {
            this.newestId = id;
        }
        // What the stream does not carry is asked for when it tells of something new.
        const more = isNew || this.store.knowsMore(this.budgets.counters);
        if (more && performance.now() - this.askedMoreAt > FAST_MS / 4) {
            this.askedMoreAt = performance.now();
            void this.fast.now();
        }
    }

    private draw(): void {
        this.budgets.draw();
        const state = this.budgets.worst();
        show(this.badge.root, state !== null);
        if (state) {
            this.badge.set(state);
        }
        const reserved = this.store.frame?.reserved ??
            this.budgets.counters.reduce((most, c) => Math.max(most, c.reserved), 0);
        this.reserved.set(credits(reserved));
    }

    private renderTotals(total: Totals, range: string): void {
        this.span.textContent = `of the last ${range}`;
        this.booked.set(credits(total.credits));
        this.calls.set(integer(total.calls));
        this.success.set(total.calls > 0 && total.successRate !== null
            ? percent(total.successRate * 100) : "–");
    }

    /** Without an entry there is nothing to draw, but something to do. */
    private onLog(count: number, isFiltered: boolean): void {
        if (isFiltered) {
            return;
        }
        const isEmpty = count === 0;
        const wasEmpty = !this.first.hidden;
        show(this.first, isEmpty);
        show(this.chart.root, !isEmpty);
        show(this.log.root, !isEmpty);
        if (wasEmpty && !isEmpty) {
            void this.slow.now();
        }
    }

    private async loadFast(): Promise<void> {
        const shown = this.log.isAtTop ? this.log.load() : Promise.resolve();
        await Promise.all([this.loadBudgets(), this.reservations.load(), this.chain.load(), shown]);
    }

    private async loadSlow(): Promise<void> {
        await Promise.all([this.chart.load(), this.prices.load()]);
    }

    private async loadBudgets(): Promise<void> {
        try {
            const answer = object(await getJson<unknown>("api/v1/spend/budgets"));
            this.budgets.update(list(answer["budgets"]).map(budget));
            this.budgets.problem.set("");
            this.draw();
        } catch (error) {
            this.budgets.problem.set(`Budgets are not known: ${messageOf(error)}`);
        }
    }
}
