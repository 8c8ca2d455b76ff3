// What the page says of budgets, in words. Pure.
import { clock, date, duration, fixed } from "../lib/format";
import type { BreakerState, Budget, Counter } from "./shapes";

/** Credits have six decimals; those that are zeros are left out. */
export function credits(value: number | null | undefined): string {
    if (typeof value !== "number" || !Number.isFinite(value)) {
        return "–";
    }
    const decimals = value.toFixed(6).replace(/0+$/, "").split(".")[1]?.length ?? 0;
    return fixed(value, decimals);
}

export const stateWords: Record<BreakerState, { word: string; mark: string; tone: string }> = {
    closed: { word: "closed", mark: "●", tone: "ok" },
    open: { word: "open", mark: "■", tone: "bad" },
    half_open: { word: "half-open", mark: "◐", tone: "warn" },
    forced_open: { word: "forced open", mark: "✕", tone: "bad" },
    metrics_only: { word: "metrics only", mark: "○", tone: "faint" },
};

const badness: BreakerState[] = ["metrics_only", "closed", "half_open", "open", "forced_open"];

/** The state that needs a reader's eye first. */
export function worst(states: BreakerState[]): BreakerState {
    return states.reduce((a, b) => (badness.indexOf(b) > badness.indexOf(a) ? b : a),
        states[0] ?? "closed");
}

const dimensions: Record<string, string> = {
    api: "API", endpoint: "endpoint", key: "key", run_id: "run", project: "project",
};

/** "API birdeye, each run"; "all calls". */
export function scopeText(scope: Record<string, string>): string {
    const parts = Object.entries(scope).map(([name, value]) => {
        const what = dimensions[name] ?? name;
        return value === "*" ? `each ${what}` : `${what} ${value}`;
    });
    return parts.join(", ") || "all calls";
}

export function windowText(budget: Budget): string {
    if (budget.window !== "sliding") {
        return `each ${budget.window} (UTC)`;
    }
    const minutes = budget.windowMinutes ?? 60;
    return minutes % 1440 === 0 && minutes > 1440 ? `any ${minutes / 1440} days`
        : minutes % 60 === 0 && minutes > 60 ? `any ${minutes / 60} hours` : `any ${minutes} min`;
}

/** When a counter will be used up, in the words of GET /api/v1/spend/forecast. */
export function forecastText(budget: Budget, counter: Counter, nowMs: number): string {
    if (counter.used + counter.reserved >= counter.hard) {
        return counter.resetsAt !== null && counter.resetsAt > nowMs && budget.window !== "sliding"
            ? `used up; begins again at ${when(counter.resetsAt, nowMs)}` : "used up";
    }
    const what = budget.window === "sliding" ? "the budget" : `the ${budget.window}'s budget`;
    return counter.forecastAt === null
        ? `at this rate ${what} does not run out`
        : `at this rate ${what} ends at ${when(counter.forecastAt, nowMs)}`;
}

/** The time of day (UTC), with its date when that is not today's. */
function when(ms: number, nowMs: number): string {
    const time = clock(ms).slice(0, 5);
    return date(ms) === date(nowMs) ? time : `${date(ms)} ${time}`;
}

/** How long until a moment; "over" behind it. */
export function until(ms: number | null, nowMs: number): string {
    return ms === null ? "–" : ms <= nowMs ? "over" : duration(Math.ceil((ms - nowMs) / 1000));
}

/** Widths in percent of a bar whose hard limit stands a little before its end. */
export function barShares(counter: Counter): {
    used: number; reserved: number; hard: number; soft: number | null;
} {
    const full = Math.max(counter.hard * 1.06, (counter.used + counter.reserved) * 1.01, 1e-6);
    const share = (value: number) => Math.max(0, Math.min(100, (value / full) * 100));
    const used = share(counter.used);
    return {
        used,
        reserved: Math.min(share(counter.reserved), 100 - used),
        hard: share(counter.hard),
        soft: counter.soft > 0 ? share(counter.soft) : null,
    };
}
