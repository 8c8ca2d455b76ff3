// Budgets: a bar for each counter, with what is used and what is reserved, its limits as marks, the
// breaker's state, when it will be used up, and what an operator may do about it.
import { h, setAttr, setClass, setText, show } from "../lib/dom";
import { integer, percent } from "../lib/format";
import { panel, problemLine } from "../lib/ui";
import { actionLabel, changeBudget, type Action } from "./confirm";
import { emptyCounter, type Budget, type Counter } from "./shapes";
import type { SpendStore } from "./store";
import {
    barShares, credits, forecastText, scopeText, stateWords, windowText, worst,
} from "./words";

const COUNTERS_SHOWN = 5;

/** What stands for a state: a mark, a word and a colour. */
export class StateBadge {
    readonly root = h("span", { class: "badge" });
    private readonly mark = h("span", { class: "badge-mark", "aria-hidden": "true" });
    private readonly word = h("span");

    constructor() {
        this.root.append(this.mark, this.word);
    }

    set(state: keyof typeof stateWords): void {
        const { word, mark, tone } = stateWords[state];
        setClass(this.root, `badge ${tone}`);
        setAttr(this.root, "data-state", state);
        setText(this.mark, mark);
        setText(this.word, word);
    }
}

class CounterRow {
    readonly root: HTMLElement;
    private readonly name = h("span", { class: "counter-name" });
    private readonly badge = new StateBadge();
    private readonly figures = h("span", { class: "counter-figures" });
    private readonly used = h("span", { class: "bar-used" });
    private readonly reserved = h("span", { class: "bar-reserved" });
    private readonly soft = h("span", { class: "bar-mark soft", title: "Soft limit" });
    private readonly hard = h("span", { class: "bar-mark hard", title: "Hard limit" });
    private readonly bar: HTMLElement;
    private readonly forecast = h("span", { class: "counter-forecast" });
    private readonly refusals = h("span", { class: "counter-refusals" });

    constructor() {
        this.bar = h("div", { class: "budget-bar", role: "meter", "aria-valuemin": 0 },
            this.used, this.reserved, this.soft, this.hard);
        this.root = h("li", { class: "counter" },
            h("div", { class: "counter-head" }, this.name, this.figures, this.badge.root),
            this.bar,
            h("div", { class: "counter-foot" }, this.forecast, this.refusals));
    }

    set(budget: Budget, counter: Counter, isAlone: boolean, nowMs: number): void {
        const shares = barShares(counter);
        const sum = counter.used + counter.reserved;
        this.used.style.width = `${shares.used}%`;
        this.reserved.style.width = `${shares.reserved}%`;
        this.hard.style.left = `${shares.hard}%`;
        this.soft.style.left = `${shares.soft ?? 0}%`;
        show(this.soft, shares.soft !== null);
        const level = sum >= counter.hard ? "over"
            : counter.soft > 0 && sum >= counter.soft ? "soft" : "calm";
        setAttr(this.bar, "data-level", level);
        const figures = `${credits(counter.used)} used` +
            `${counter.reserved > 0 ? ` + ${credits(counter.reserved)} reserved` : ""}` +
            ` of ${credits(counter.hard)}`;
        const share = counter.hard > 0 ? ` · ${percent((sum / counter.hard) * 100)}` : "";
        setText(this.figures, figures + share);
        setAttr(this.bar, "aria-label", `${budget.name} ${counter.instance}`.trim());
        setAttr(this.bar, "aria-valuemax", String(Math.max(counter.hard, sum)));
        setAttr(this.bar, "aria-valuenow", String(sum));
        setAttr(this.bar, "aria-valuetext", figures +
            (counter.soft > 0 ? `, soft limit ${credits(counter.soft)}` : ""));
        setText(this.name, counter.instance || (isAlone ? "" : "(all)"));
        this.badge.set(counter.state);
        setText(this.forecast, forecastText(budget, counter, nowMs));
        setText(this.refusals, [
            counter.refused ? `${integer(counter.refused)} refused` : "",
            counter.wouldRefuse ? `${integer(counter.wouldRefuse)} would have been refused` : "",
        ].filter(Boolean).join(", "));
    }
}

class BudgetCard {
    readonly root: HTMLElement;
    private readonly about = h("p", { class: "budget-about" });
    private readonly list = h("ul", { class: "counters" });
    private readonly rows = new Map<string, CounterRow>();
    private readonly more = h("button", { type: "button", class: "button small" });
    private readonly buttons: Record<Action, HTMLButtonElement>;
    private all = false;

    constructor(
        public budget: Budget,
        private readonly onChanged: (text: string) => void,
    ) {
        const button = (action: Action) => h("button", {
            type: "button", class: "button small",
            "aria-label": `${actionLabel(action)} ${budget.name}`,
            onclick: () => void this.act(action),
        }, action === "enforce" ? "Enforce" : `${actionLabel(action)}…`);
        this.buttons = {
            reset: button("reset"), "force-open": button("force-open"),
            enforce: button("enforce"),
        };
        this.more.addEventListener("click", () => {
            this.all = !this.all;
            this.draw(this.counters, Date.now());
        });
        this.root = h("article", { class: "budget", "data-budget": budget.name },
            h("header", { class: "budget-head" }, h("h3", null, budget.name), this.about,
                h("div", { class: "budget-actions" }, Object.values(this.buttons))),
            this.list, this.more);
    }

    private counters: Counter[] = [];

    private async act(action: Action): Promise<void> {
        if (await changeBudget(this.budget.name, action)) {
            const done = {
                reset: "was reset", "force-open": "is forced open", enforce: "is enforced",
            }[action];
            this.onChanged(`${this.budget.name} ${done}.`);
        }
        const button = this.buttons[action].hidden ? this.buttons.reset : this.buttons[action];
        button.focus();
    }

    draw(counters: Counter[], nowMs: number): void {
        this.counters = counters;
        const { budget } = this;
        const about = [scopeText(budget.scope), windowText(budget),
            budget.soft > 0 ? `soft limit ${credits(budget.soft)}` : "", budget.description];
        setText(this.about, about.filter(Boolean).join(" · "));
        show(this.buttons["force-open"], budget.mode !== "forced_open");
        show(this.buttons.enforce, budget.mode !== "enforce");
        const sorted = counters.length > COUNTERS_SHOWN
            ? [...counters].sort((a, b) => b.used + b.reserved - a.used - a.reserved) : counters;
        const shown = this.all ? sorted : sorted.slice(0, COUNTERS_SHOWN);
        this.arrange(shown.map((c) => c.instance));
        for (const counter of shown) {
            this.rows.get(counter.instance)?.set(budget, counter, counters.length === 1, nowMs);
        }
        show(this.more, counters.length > COUNTERS_SHOWN);
        setText(this.more, this.all ? `Only the fullest ${COUNTERS_SHOWN}`
            : `All ${integer(Math.max(counters.length, budget.counterCount))} counters`);
    }

    private arrange(wanted: string[]): void {
        for (const [instance, row] of this.rows) {
            if (!wanted.includes(instance)) {
                row.root.remove();
                this.rows.delete(instance);
            }
        }
        wanted.forEach((instance, i) => {
            let row = this.rows.get(instance);
            if (!row) {
                row = new CounterRow();
                this.rows.set(instance, row);
            }
            if (this.list.children[i] !== row.root) {
                this.list.insertBefore(row.root, this.list.children[i] ?? null);
            }
        });
    }
}

export class BudgetsPanel {
    readonly root: HTMLElement;
    readonly problem = problemLine();
    private readonly cards = new Map<string, BudgetCard>();
    private readonly list = h("div", { class: "budgets" });
    private readonly empty = h("p", { class: "empty-note" }, "No budget is set.");
    private readonly said = h("p", { class: "result-note ok", role: "status" });
    private budgets: Budget[] = [];

    constructor(
        private readonly store: SpendStore,
        private readonly onChanged: () => void,
    ) {
        const key = (className: string, label: string) => h("span", { class: "bar-key" },
            h("span", { class: `bar-sample ${className}`, "aria-hidden": "true" }), label);
        this.root = panel("Budgets", "budgets", [
            key("bar-used", "used"), key("bar-reserved", "reserved"),
            key("bar-mark soft", "soft limit"), key("bar-mark hard", "hard limit"),
        ], this.problem.root, this.said, this.list, this.empty);
    }

    get counters(): Counter[] {
        return this.budgets.flatMap((b) =>
            (b.counters.length > 0 ? b.counters : [emptyCounter(b)]));
    }

    update(budgets: Budget[]): void {
        this.budgets = budgets;
        const wanted = new Set(budgets.map((b) => b.name));
        for (const [name, card] of this.cards) {
            if (!wanted.has(name)) {
                card.root.remove();
                this.cards.delete(name);
            }
        }
        for (const budget of budgets) {
            const card = this.cards.get(budget.name);
            if (card) {
                card.budget = budget;
                continue;
            }
            const made = new BudgetCard(budget, (text) => this.say(text));
            this.cards.set(budget.name, made);
            this.list.append(made.root);
        }
        show(this.empty, budgets.length === 0);
        this.draw();
    }

    /** Brings the bars up to what the stream said last. */
    draw(): void {
        const nowMs = Date.now();
        for (const budget of this.budgets) {
            const counters = budget.counters.length > 0 ? budget.counters : [emptyCounter(budget)];
            this.cards.get(budget.name)?.draw(counters.map((c) => this.store.newest(c)), nowMs);
        }
    }

    /** The state that matters most, over all counters. */
    worst(): ReturnType<typeof worst> | null {
        const states = this.counters.map((c) => this.store.newest(c).state);
        return states.length > 0 ? worst(states) : null;
    }

    private say(text: string): void {
        setText(this.said, text);
        this.onChanged();
    }
}
