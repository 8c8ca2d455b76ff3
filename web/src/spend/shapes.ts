// What the metering API and the stream's topic "spend" say, read tolerantly: an absent figure is
// null, an absent list empty.
import { parseTime } from "../lib/format";

export type Figure = number | null;

/** State of a budget's breaker as it is shown: its mode comes first. */
export type BreakerState = "closed" | "open" | "half_open" | "forced_open" | "metrics_only";

export interface Counter {
    budget: string;
    instance: string; // "run_id=r1"; empty: the budget has one counter
    used: number;
    reserved: number;
    hard: number;
    soft: number; // 0: none
    state: BreakerState;
    forecastAt: Figure; // ms: when it is used up at the present rate
    resetsAt: Figure; // ms
    refused: Figure;
    wouldRefuse: Figure;
}

export interface Budget {
    name: string;
    description: string;
    scope: Record<string, string>;
    window: "sliding" | "hour" | "day" | "month";
    windowMinutes: Figure;
    mode: string;
    hard: number;
    soft: number;
    counters: Counter[];
    counterCount: number;
}

export interface SpendEvent {
    id: string;
    time: Figure; // ms
    api: string;
    endpoint: string;
    method: string;
    status: Figure;
    success: boolean;
    latency: Figure;
    credits: Figure;
    run: string;
    json: Record<string, unknown>; // all of it
}

export interface Reservation {
    id: string;
    api: string;
    endpoint: string;
    run: string;
    credits: Figure;
    createdAt: Figure;
    expiresAt: Figure;
}

export interface PriceRule {
    name: string;
    match: string;
    when: string;
    credits: string;
    max: Figure;
    onFailure: string;
}

export interface PriceBook {
    name: string;
    api: string;
    version: string;
    from: Figure;
    source: string;
    active: boolean;
    rules: PriceRule[];
}

export interface SpendFrame {
    creditsTotal: Figure;
    reserved: Figure;
    counters: Counter[];
    budgetsTotal: Figure;
    recent: SpendEvent[];
}

type Json = Record<string, unknown>;

export function object(value: unknown): Json {
    return typeof value === "object" && value !== null && !Array.isArray(value)
        ? (value as Json) : {};
}

export function list(value: unknown): unknown[] {
    return Array.isArray(value) ? value : [];
}

/** Credits may be texts, so that no reader loses digits. */
export function figure(value: unknown): Figure {
    const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
    return typeof number === "number" && Number.isFinite(number) ? number : null;
}

function text(value: unknown): string {
    return typeof value === "string" ? value : typeof value === "number" ? String(value) : "";
}

const states = new Set(["closed", "open", "half_open", "forced_open", "metrics_only"]);

function stateOf(state: string, mode: string): BreakerState {
    const word = mode === "metrics_only" || mode === "forced_open" ? mode : state.replace("-", "_");
    return states.has(word) ? (word as BreakerState) : "closed";
}

function counter(value: unknown, budget: Json): Counter {
    const json = object(value);
    const forecast = object(json["forecast"]);
    return {
        budget: text(json["name"] ?? budget["name"]),
        instance: text(json["instance"]),
        used: figure(json["used"]) ?? 0,
        reserved: figure(json["reserved"]) ?? 0,
        hard: figure(json["hard_limit"] ?? budget["hard_limit"]) ?? 0,
        soft: figure(json["soft_limit"] ?? budget["soft_limit"]) ?? 0,
        state: stateOf(text(json["state"]), text(json["mode"] ?? budget["mode"])),
        forecastAt: parseTime(json["forecast_at"] ?? forecast["exhausted_at"]),
        resetsAt: parseTime(json["resets_at"]),
        refused: figure(json["refused"]),
        wouldRefuse: figure(json["would_refuse"]),
    };
}

export function budget(value: unknown): Budget {
    const json = object(value);
    const window = text(json["window"]);
    const counters = list(json["instances"]).map((item) => counter(item, json));
    const scope = Object.entries(object(json["scope"])).map(([k, v]) => [k, text(v)] as const);
    return {
        name: text(json["name"]),
        description: text(json["description"]),
        scope: Object.fromEntries(scope),
        window: window === "hour" || window === "day" || window === "month" ? window : "sliding",
        windowMinutes: figure(json["window_minutes"]),
        mode: text(json["mode"]) || "enforce",
        hard: figure(json["hard_limit"]) ?? 0,
        soft: figure(json["soft_limit"]) ?? 0,
        counters,
        counterCount: figure(json["instance_count"]) ?? counters.length,
    };
}

/** A counter that nothing was booked in yet. */
export function emptyCounter(of: Budget): Counter {
    return counter({}, { name: of.name, hard_limit: of.hard, soft_limit: of.soft, mode: of.mode });
}

export function spendEvent(value: unknown): SpendEvent {
    const json = object(value);
    return {
        id: text(json["id"]),
        time: parseTime(json["timestamp"]),
        api: text(json["api_name"]),
        endpoint: text(json["endpoint"]),
        method: text(json["method"]),
        status: figure(json["status_code"]),
        success: json["success"] === true,
        latency: figure(json["latency_ms"]),
        credits: figure(json["credits_cost"] ?? json["credits"]),
        run: text(json["run_id"]),
        json,
    };
}

export function reservation(value: unknown): Reservation {
    const json = object(value);
    return {
        id: text(json["reservation_id"]),
        api: text(json["api_name"]),
        endpoint: text(json["endpoint"]),
        run: text(json["run_id"]),
        credits: figure(json["credits"]),
        createdAt: parseTime(json["created_at"]),
        expiresAt: parseTime(json["expires_at"]),
    };
}

/** "GET /defi/**, type=1H,4H": what a rule asks of a call, in one line. */
function matchText(value: unknown): string {
    const parts = Object.entries(object(value)).flatMap(([name, wanted]) => {
        if (name === "method" || name === "path") {
            return [list(wanted).map(text).join(", ")];
        }
        if (name === "status") {
            return [`status ${list(wanted).map(text).join(", ")}`];
        }
        return Object.entries(object(wanted)).map(([field, values]) => Array.isArray(values)
            ? `${field}=${values.map(text).join(",")}`
            : `${field} ${object(values)["exists"] === false ? "absent" : "given"}`);
    });
    return parts.filter(Boolean).join(" ") || "every call";
}

function priceRule(value: unknown): PriceRule {
    const json = object(value);
    return {
        name: text(json["name"]),
        match: matchText(json["match"]),
        when: text(json["when"]),
        credits: text(json["credits"]),
        max: figure(json["max"]),
        onFailure: text(json["on_failure"]),
    };
}

export function priceBook(value: unknown): PriceBook {
    const json = object(value);
    return {
        name: text(json["book"]),
        api: text(json["api"]),
        version: text(json["version"]),
        from: parseTime(json["effective_from"]),
        source: text(json["source"]),
        active: json["active"] !== false,
        rules: list(json["rules"]).map(priceRule),
    };
}

/** Of each book the newest version that is in force at a time. */
export function booksInForce(books: PriceBook[], nowMs: number): PriceBook[] {
    const newest = new Map<string, PriceBook>();
    for (const book of books) {
        const other = newest.get(book.name);
        const begun = book.from === null || book.from <= nowMs;
        if (book.active && begun && (!other || (other.from ?? 0) <= (book.from ?? 0))) {
            newest.set(book.name, book);
        }
    }
    return [...newest.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The part "spend" of a frame; null when the frame has none. */
export function spendFrame(value: unknown): SpendFrame | null {
    const part = object(value)["spend"];
    if (part === undefined) {
        return null;
    }
    const json = object(part);
    return {
        creditsTotal: figure(json["credits_total"]),
        reserved: figure(json["reserved"]),
        counters: list(json["budgets"]).map((item) => counter(item, {})),
        budgetsTotal: figure(json["budgets_total"]),
        recent: list(json["recent"]).map(spendEvent),
    };
}
