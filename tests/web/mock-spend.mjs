// Test support only: the metering API with made-up entries in memory. It reserves, books and
// refuses as one budget after the other allows, so that the page has something to follow.
import { createHash } from "node:crypto";

const HOUR = 3600;
const iso = (seconds) => new Date(seconds * 1000).toISOString().replace("Z", "");
const calls = [
    ["birdeye", "/defi/v3/ohlcv", 120], ["birdeye", "/defi/price", 60],
    ["birdeye", "/defi/token_overview", 60], ["helius", "/v0/addresses/transactions", 100],
    ["helius", "/v0/token-metadata", 10], ["dexscreener", "/latest/dex/pairs/solana", 0.5],
];

const books = [
    {
        book: "birdeye", api: "birdeye", version: 2, effective_from: "2026-01-01T00:00:00",
        active: true, source: "built in", description: "", rules: [
            { name: "ohlcv-below-1000", match: { path: ["/defi/ohlcv**", "/defi/v3/ohlcv**"] },
                when: "candles < 1000", credits: 60, on_failure: 0 },
            { name: "ohlcv", match: { path: ["/defi/ohlcv**", "/defi/v3/ohlcv**"] },
                credits: 120, on_failure: 0 },
            { name: "other", match: {}, credits: 60, on_failure: 0 },
        ],
    },
    {
        book: "birdeye", api: "birdeye", version: 1, effective_from: "2020-01-01T00:00:00",
        active: true, source: "built in", description: "", rules: [
            { name: "old", match: {}, credits: 30, on_failure: 0 },
        ],
    },
];

export class MockSpend {
    constructor(clock, { empty = false } = {}) {
        this.clock = clock;
        this.events = []; // oldest first
        this.open = new Map(); // reservations
        this.changes = []; // of budgets, with their reasons
        this.budgets = [{
            name: "default", scope: {}, window: "sliding", window_minutes: 60,
            hard_limit: 1000000, soft_limit: 800000, mode: "enforce", half_open_probes: 1,
            half_open_pause_ms: 10000, description: "",
        }];
        this.resets = new Map();
        if (!empty) {
            this.invent();
        }
    }

    /** Three days of calls, and budgets in every state. */
    invent() {
        const now = this.clock();
        for (let i = 0; i < 1400; i++) {
            const at = now - (1400 - i) ** 1.45 * 7.2;
            const [api_name, endpoint, cost] = calls[(i * 7 + Math.floor(i / 11)) % calls.length];
            const bad = i % 23 === 0;
            this.add({
                api_name, endpoint, run_id: `run-${1 + Math.floor(i / 400)}`, timestamp: at,
                status_code: bad ? [429, 500, null][i % 3] : 200, success: !bad,
                latency_ms: 40 + ((i * 37) % 300), credits_cost: bad ? 0 : cost,
                error_message: bad ? "too many requests" : null,
                metadata_json: i % 5 ? null : '{"candles":5000,"pair":"SOL/USDC"}',
            });
        }
        this.budgets.push(
            { ...this.budgets[0], name: "hour", window: "hour", window_minutes: undefined,
                hard_limit: 9000, soft_limit: 8000, description: "all of it, by the clock" },
            { ...this.budgets[0], name: "birdeye", scope: { api: "birdeye" },
                hard_limit: 5500, soft_limit: 3000 },
            { ...this.budgets[0], name: "per-run", scope: { run_id: "*" }, window: "day",
                window_minutes: undefined, hard_limit: 40000, soft_limit: 30000 },
            { ...this.budgets[0], name: "helius", scope: { api: "helius" }, window: "month",
                window_minutes: undefined, hard_limit: 20000, soft_limit: 0,
                mode: "metrics_only" },
        );
        this.open.set("r-open-1", { reservation_id: "r-open-1", api_name: "birdeye",
            endpoint: "/defi/v3/ohlcv", run_id: "run-4", credits: 600, created_at: now - 12,
            expires_at: now + 48 });
        this.open.set("r-open-2", { reservation_id: "r-open-2", api_name: "helius",
            endpoint: "/v0/token-metadata", run_id: null, credits: 10, created_at: now - 5,
            expires_at: now + 3600 });
    }

    add(event) {
        const seq = this.events.length + 1;
        const before = this.events.at(-1)?.hash ?? "";
        const full = {
            id: `event-${seq}`, method: "GET", run_id: null, error_message: null,
            metadata_json: null, api_key: null, project: null, reservation_id: null,
            corrects: null, price_rule: null, created_at: this.clock(), ...event, seq,
        };
        full.hash = createHash("sha256").update(before + JSON.stringify(full)).digest("hex");
        this.events.push(full);
        return full;
    }

    from(budget) {
        const now = this.clock();
        const begin = {
            sliding: now - (budget.window_minutes ?? 60) * 60,
            hour: Math.floor(now / HOUR) * HOUR, day: Math.floor(now / 86400) * 86400,
            month: Date.UTC(new Date(now * 1000).getUTCFullYear(),
                new Date(now * 1000).getUTCMonth()) / 1000,
        }[budget.window];
        return Math.max(begin, this.resets.get(budget.name) ?? 0);
    }

    ends(budget) {
        const length = { hour: HOUR, day: 86400 }[budget.window];
        return length ? this.from({ ...budget, name: "" }) + length : null;
    }

    covers(budget, call) {
        return Object.entries(budget.scope).every(([dimension, value]) => {
            const own = call[{ api: "api_name", key: "api_key" }[dimension] ?? dimension];
            return value === "*" ? Boolean(own) : own === value;
        });
    }

    instanceOf(budget, call) {
        return Object.entries(budget.scope).filter(([, value]) => value === "*")
            .map(([dimension]) => `${dimension}=${call[dimension]}`).join(",");
    }

    counters(budget) {
        const all = new Map();
        const at = (call) => {
            const instance = this.instanceOf(budget, call);
            if (!all.has(instance)) {
                all.set(instance, { instance, used: 0, reserved: 0 });
            }
            return all.get(instance);
        };
        const from = this.from(budget);
        for (const event of this.events) {
            if (event.timestamp >= from && this.covers(budget, event)) {
                at(event).used += event.credits_cost;
            }
        }
        for (const reservation of this.open.values()) {
            if (this.covers(budget, reservation)) {
                at(reservation).reserved += reservation.credits;
            }
        }
        if (all.size === 0 && !Object.values(budget.scope).includes("*")) {
            at({});
        }
        return [...all.values()].map((counter) => ({ ...counter, ...this.judge(budget, counter) }));
    }

    judge(budget, counter) {
        const now = this.clock();
        const sum = counter.used + counter.reserved;
        const rate = counter.used / Math.max(60, now - this.from(budget));
        const at = rate > 0 ? now + (budget.hard_limit - sum) / rate : Infinity;
        const ends = this.ends(budget) ?? now + 86400;
        const open = counter.used >= budget.hard_limit && budget.mode === "enforce";
        return {
            state: budget.mode === "forced_open" ? "forced_open" : open ? "open" : "closed",
            resets_at: this.ends(budget) === null ? null : iso(this.ends(budget)),
            refused: open ? 3 : 0,
            would_refuse: budget.mode === "metrics_only" && sum > budget.hard_limit ? 12 : 0,
            forecast: { rate_per_minute: rate * 60,
                exhausted_at: at > now && at < ends ? iso(at) : null },
        };
    }

    view(budget) {
        const instances = this.counters(budget);
        return { ...budget, instances, instance_count: instances.length };
    }

    /** The part of a frame. */
    frame() {
        const budgets = this.budgets.flatMap((budget) => this.counters(budget).map((c) => ({
            name: budget.name, instance: c.instance, used: c.used, reserved: c.reserved,
            hard_limit: budget.hard_limit, soft_limit: budget.soft_limit, state: c.state,
            mode: budget.mode, forecast_at: c.forecast.exhausted_at,
        })));
        return {
            reserved: [...this.open.values()].reduce((sum, r) => sum + r.credits, 0),
            budgets, budgets_total: budgets.length, events: this.events.length,
            credits_total: this.events.reduce((sum, e) => sum + e.credits_cost, 0),
            recent: this.events.slice(-20).reverse().map((e) => ({
                id: e.id, timestamp: iso(e.timestamp), api_name: e.api_name,
                endpoint: e.endpoint, status_code: e.status_code, success: e.success,
                latency_ms: e.latency_ms, credits: e.credits_cost, run_id: e.run_id,
            })),
        };
    }

    refuse(budget, counter, credits) {
        return [503, {
            detail: `the budget ${budget.name} has no room for ${credits} credits`,
            code: "CIRCUIT_BREAKER_TRIPPED", reason: "would_exceed", budget: budget.name,
            instance: counter.instance, threshold: budget.hard_limit, used: counter.used,
            reserved: counter.reserved, requested: credits, state: counter.state,
        }];
    }

    reserve(body) {
        const id = body.reservation_id ?? `r-${this.open.size + 1}-${this.events.length}`;
        const credits = body.max_credits ?? 60;
        const reservation = {
            reservation_id: id, api_name: body.api_name, endpoint: body.endpoint ?? "unknown",
            run_id: body.run_id ?? null, credits, created_at: this.clock(),
            expires_at: this.clock() + 60,
        };
        for (const budget of this.budgets) {
            if (budget.mode === "metrics_only" || !this.covers(budget, reservation)) {
                continue;
            }
            const instance = this.instanceOf(budget, reservation);
            const counter = this.counters(budget).find((c) => c.instance === instance) ??
                { instance, used: 0, reserved: 0, state: "closed" };
            const full = counter.used + counter.reserved + credits > budget.hard_limit;
            if (full || budget.mode === "forced_open") {
                return this.refuse(budget, counter, credits);
            }
        }
        this.open.set(id, reservation);
        return [200, { reservation_id: id, credits, replayed: false, lsn: 1 }];
    }

    commit(body) {
        const reservation = this.open.get(body.reservation_id);
        if (!reservation) {
            return [404, { detail: "there is no such reservation", code: "EIDER_NOT_FOUND" }];
        }
        this.open.delete(body.reservation_id);
        const event = this.add({
            api_name: reservation.api_name, endpoint: reservation.endpoint,
            run_id: reservation.run_id, timestamp: this.clock(),
            status_code: body.status_code ?? null,
            success: body.success ?? (body.status_code >= 200 && body.status_code < 300),
            latency_ms: body.latency_ms ?? 0, credits_cost: body.credits ?? reservation.credits,
            reservation_id: body.reservation_id,
        });
        return [200, { event_id: event.id, credits: event.credits_cost, lsn: 1 }];
    }

    matching(query) {
        const status = query.get("status");
        const time = (name) => (query.get(name) ? Date.parse(query.get(name)) / 1000 : null);
        const [from, to] = [time("from"), time("to")];
        return this.events.filter((e) =>
            ["api_name", "endpoint", "run_id"].every((name) =>
                !query.get(name) || e[name] === query.get(name)) &&
            (!query.get("success") || String(e.success) === query.get("success")) &&
            (!status || (status === "null" ? e.status_code === null
                : status.endsWith("xx") ? String(e.status_code)[0] === status[0]
                    : String(e.status_code) === status)) &&
            (from === null || e.timestamp >= from) && (to === null || e.timestamp <= to));
    }

    shown(event) {
        return { ...event, timestamp: iso(event.timestamp), created_at: iso(event.created_at) };
    }

    page(query) {
        const limit = Number(query.get("limit") ?? 100);
        const before = Number(query.get("cursor") ?? Infinity);
        const all = this.matching(query).filter((e) => e.seq < before).reverse();
        const events = all.slice(0, limit);
        const next = all.length > limit ? String(events.at(-1).seq) : null;
        return { events: events.map((e) => this.shown(e)), count: events.length,
            next_cursor: next };
    }

    sums(events) {
        const latencies = events.map((e) => e.latency_ms).sort((a, b) => a - b);
        const at = (q) => latencies[Math.floor(q * (latencies.length - 1))] ?? 0;
        const good = events.filter((e) => e.success).length;
        return {
            total_events: events.length,
            total_credits: events.reduce((sum, e) => sum + e.credits_cost, 0),
            success_rate: events.length ? good / events.length : 0, avg_latency: at(0.5),
            p50_latency: at(0.5), p95_latency: at(0.95), p99_latency: at(0.99),
            error_count: events.length - good,
        };
    }

    stats(query) {
        const events = this.matching(query);
        const dimensions = query.get("group_by")?.split(",") ?? [];
        const groups = new Map();
        for (const event of dimensions.length ? events : []) {
            const key = Object.fromEntries(dimensions.map((d) => {
                const step = { hour: HOUR, day: 86400 }[d];
                return step ? [d, iso(Math.floor(event.timestamp / step) * step)]
                    : d === "api" ? ["api_name", event.api_name] : [d, event[d]];
            }));
            const text = JSON.stringify(key);
            groups.set(text, [...(groups.get(text) ?? []), event]);
        }
        return { ...this.sums(events), groups: [...groups].map(([key, of]) =>
            ({ ...JSON.parse(key), ...this.sums(of) })) };
    }

    change(name, action, body) {
        const budget = this.budgets.find((b) => b.name === name);
        if (!budget) {
            return [404, { detail: `there is no budget "${name}"`, code: "EIDER_NOT_FOUND" }];
        }
        this.changes.push({ name, action, reason: body.reason ?? null });
        if (action === "reset") {
            this.resets.set(name, this.clock());
        } else {
            budget.mode = { "force-open": "forced_open", "metrics-only": "metrics_only",
                enforce: "enforce" }[action];
        }
        return [200, this.view(budget)];
    }

    /** [status, body], or null for a path that is not ours. */
    route(method, url, body) {
        const path = url.pathname;
        const parts = path.split("/").slice(3).map(decodeURIComponent);
        const json = body && method !== "GET" ? JSON.parse(body) : {};
        if (method === "PUT" && path.startsWith("/api/v1/spend/budgets/")) {
            const name = parts[2];
            this.budgets = this.budgets.filter((b) => b.name !== name);
            this.budgets.push({ scope: {}, window: "sliding", window_minutes: 60,
                hard_limit: 1000000, soft_limit: 0, mode: "enforce", description: "",
                ...json, name });
            return [200, this.view(this.budgets.at(-1))];
        }
        if (method === "POST" && path.startsWith("/api/v1/spend/budgets/")) {
            return this.change(parts[2], parts[3], json);
        }
        switch (`${method} ${path}`) {
            case "POST /api/v1/spend/reserve":
                return this.reserve(json);
            case "POST /api/v1/spend/commit":
                return this.commit(json);
            case "GET /api/v1/spend/budgets":
                return [200, { budgets: this.budgets.map((b) => this.view(b)),
                    count: this.budgets.length }];
            case "GET /api/v1/spend/reservations": {
                const open = [...this.open.values()].map((r) => ({ ...r,
                    created_at: iso(r.created_at), expires_at: iso(r.expires_at) }));
                return [200, { reservations: open, count: open.length }];
            }
            case "GET /api/v1/spend/prices":
                return [200, { books, count: books.length }];
            case "GET /api/v1/events":
                return [200, this.page(url.searchParams)];
            case "GET /api/v1/events/stats":
                return [200, this.stats(url.searchParams)];
            case "GET /api/v1/events/head": {
                const last = this.events.at(-1);
                return [200, { seq: last?.seq ?? 0, hash: last?.hash ?? "0".repeat(64),
                    at: last ? iso(last.created_at) : null }];
            }
            default:
                break;
        }
        if (method === "GET" && path.startsWith("/api/v1/events/")) {
            const event = this.events.find((e) => e.id === parts[1]);
            return event ? [200, this.shown(event)]
                : [404, { detail: `there is no entry "${parts[1]}"`, code: "EIDER_NOT_FOUND" }];
        }
        return null;
    }
}
