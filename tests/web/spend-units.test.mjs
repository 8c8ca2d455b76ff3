// The spend view's pure modules: shapes of the API, words, bars, stacks.
import assert from "node:assert/strict";
import test from "node:test";
import { runnerImport } from "vite";

const load = async (path) =>
    (await runnerImport(new URL(`../../web/src/${path}`, import.meta.url).pathname)).module;

const shapes = await load("spend/shapes.ts");
const words = await load("spend/words.ts");
const { namesOf, stacks, totals } = await load("spend/stacks.ts");
const { SpendStore } = await load("spend/store.ts");
const { stack } = await load("lib/stack.ts");

const noon = Date.parse("2026-01-02T12:00:00Z");

const hourly = shapes.budget({
    name: "hour", window: "hour", hard_limit: 1000, soft_limit: "800.5", mode: "enforce",
    scope: { api: "birdeye", run_id: "*" },
    instances: [{
        instance: "run_id=r1", used: 400, reserved: "100", state: "closed",
        resets_at: "2026-01-02T13:00:00", forecast: { exhausted_at: "2026-01-02T12:32:10" },
    }],
});

test("a budget is read with its counters; credits may be texts", () => {
    const [counter] = hourly.counters;
    assert.equal(hourly.soft, 800.5);
    assert.equal(hourly.counterCount, 1);
    assert.deepEqual(
        [counter.budget, counter.instance, counter.used, counter.reserved, counter.hard],
        ["hour", "run_id=r1", 400, 100, 1000]);
    assert.equal(counter.forecastAt, Date.parse("2026-01-02T12:32:10Z"));
    const bare = shapes.budget({ name: "bare" });
    assert.deepEqual([bare.window, bare.mode, bare.hard, bare.counters],
        ["sliding", "enforce", 0, []]);
    assert.deepEqual(shapes.budget(null).counters, []);
});

test("the mode of a budget says more than the state of its breaker", () => {
    const state = (mode, value) => shapes.budget({
        name: "b", mode, instances: [{ state: value }],
    }).counters[0].state;
    assert.equal(state("enforce", "open"), "open");
    assert.equal(state("enforce", "half-open"), "half_open");
    assert.equal(state("metrics_only", "open"), "metrics_only");
    assert.equal(state("forced_open", "closed"), "forced_open");
    assert.equal(state("enforce", "something new"), "closed");
    assert.equal(words.worst(["closed", "metrics_only", "open", "half_open"]), "open");
    assert.equal(words.worst(["metrics_only", "closed"]), "closed");
});

test("frames without the part are told from those with an empty one", () => {
    assert.equal(shapes.spendFrame({ market_data: {} }), null);
    assert.deepEqual(shapes.spendFrame({ spend: {} }).recent, []);
    const frame = shapes.spendFrame({ spend: {
        reserved: 60, credits_total: "1.5", budgets: [{ name: "hour", used: 3, state: "open" }],
        recent: [{ id: "e1", credits: 2, status_code: null, success: false }],
    } });
    assert.deepEqual([frame.reserved, frame.creditsTotal], [60, 1.5]);
    assert.equal(frame.counters[0].state, "open");
    assert.deepEqual([frame.recent[0].credits, frame.recent[0].status], [2, null]);
});

test("the stream's figures stand over an answer's, for its own counter only", () => {
    const store = new SpendStore();
    const [counter] = hourly.counters;
    assert.equal(store.newest(counter), counter);
    const frame = (instance) => ({ spend: { budgets: [{
        name: "hour", instance, used: 900, reserved: 0, hard_limit: 1000, state: "open",
        forecast_at: null,
    }] } });
    assert.ok(store.take(frame("run_id=r2")));
    assert.equal(store.newest(counter), counter);
    assert.ok(store.knowsMore([counter]));
    store.take(frame("run_id=r1"));
    assert.ok(!store.knowsMore([counter]));
    const now = store.newest(counter);
    assert.deepEqual([now.used, now.reserved, now.state, now.forecastAt], [900, 0, "open", null]);
    assert.equal(now.resetsAt, counter.resetsAt);
    assert.ok(!store.take({ market_data: {} }));
    store.forget();
    assert.equal(store.newest(counter), counter);
});

test("a forecast says when, and the day when that is another", () => {
    const [counter] = hourly.counters;
    const text = (more, budget = hourly) =>
        words.forecastText(budget, { ...counter, ...more }, noon);
    assert.equal(text({}), "at this rate the hour's budget ends at 12:32");
    assert.equal(text({ forecastAt: null }), "at this rate the hour's budget does not run out");
    assert.equal(text({ forecastAt: noon + 86400000 }),
        "at this rate the hour's budget ends at 2026-01-03 12:00");
    assert.equal(text({}, { ...hourly, window: "sliding" }),
        "at this rate the budget ends at 12:32");
    assert.equal(text({ reserved: 600 }), "used up; begins again at 13:00");
    assert.equal(text({ reserved: 600 }, { ...hourly, window: "sliding" }), "used up");
});

test("credits show the decimals they have", () => {
    assert.deepEqual([60, 0.5, 1234567.000001, -1.25, 0, null].map(words.credits),
        ["60", "0.5", "1,234,567.000001", "−1.25", "0", "–"]);
    assert.equal(words.credits(0.1 + 0.2), "0.3");
});

test("scopes and windows are told in words", () => {
    assert.equal(words.scopeText({}), "all calls");
    assert.equal(words.scopeText({ api: "birdeye", run_id: "*" }), "API birdeye, each run");
    const sliding = (minutes) => words.windowText({ window: "sliding", windowMinutes: minutes });
    assert.deepEqual([30, 60, 120, 2880].map(sliding),
        ["any 30 min", "any 60 min", "any 2 hours", "any 2 days"]);
    assert.equal(words.windowText(hourly), "each hour (UTC)");
});

test("a bar holds what is used and reserved, and its limits", () => {
    const shares = (used, reserved, hard, soft) =>
        words.barShares({ used, reserved, hard, soft });
    const calm = shares(500, 250, 1000, 800);
    assert.ok(Math.abs(calm.used / calm.reserved - 2) < 1e-9);
    assert.ok(Math.abs(calm.hard / calm.used - 2) < 1e-9);
    assert.ok(calm.soft < calm.hard && calm.hard < 100);
    const over = shares(3000, 500, 1000, 0);
    assert.ok(over.used + over.reserved <= 100 && over.hard < 40);
    assert.equal(over.soft, null);
    for (const bar of [shares(0, 0, 0, 0), shares(-5, 0, 100, 0), shares(1e15, 1e15, 1, 0)]) {
        assert.ok(bar.used >= 0 && bar.reserved >= 0 && bar.used + bar.reserved <= 100.0001);
    }
});

test("of each book the newest version that has begun is in force", () => {
    const book = (name, version, from, active = true) => shapes.priceBook(
        { book: name, version, effective_from: from, active, rules: [] });
    const inForce = shapes.booksInForce([
        book("b", 2, "2026-01-01T00:00:00"), book("b", 1, "2020-01-01T00:00:00"),
        book("b", 3, "2027-01-01T00:00:00"), book("a", 1, "2020-01-01T00:00:00"),
        book("c", 1, "2020-01-01T00:00:00", false),
    ], noon);
    assert.deepEqual(inForce.map((b) => `${b.name} ${b.version}`), ["a 1", "b 2"]);
});

test("a rule is told in one line", () => {
    const rule = (match) => shapes.priceBook({ rules: [{ match }] }).rules[0].match;
    assert.equal(rule({}), "every call");
    assert.equal(rule({ method: ["GET"], path: ["/a**", "/b"], query: { type: ["1H", "4H"] },
        fields: { pro: { exists: true }, old: { exists: false } }, status: ["200-299"] }),
    "GET /a**, /b type=1H,4H pro given old absent status 200-299");
});

test("stacks hold every step, and put small groups together", () => {
    const many = { groups: Array.from({ length: 12 }, (_, i) =>
        ({ api_name: `api-${i}`, total_events: 1, total_credits: 100 - i })) };
    const names = namesOf(totals(many, "api"));
    assert.equal(names.length, 8);
    assert.deepEqual([names[0], names[6], names[7]], ["api-0", "api-6", "other"]);
    const answer = { groups: [
        { api_name: "api-0", hour: "2026-01-02T10:00:00", total_credits: 5 },
        { api_name: "api-9", hour: "2026-01-02T10:00:00", total_credits: 1 },
        { api_name: "api-11", hour: "2026-01-02T10:00:00", total_credits: "2.5" },
        { api_name: "api-0", hour: "2026-01-01T00:00:00", total_credits: 99 },
    ] };
    const ten = Date.parse("2026-01-02T10:00:00Z") / 1000;
    const drawn = stacks(answer, "api", names, ten, ten + 7300, 3600);
    assert.deepEqual(drawn.times, [ten, ten + 3600, ten + 7200]);
    assert.deepEqual(drawn.columns[0], [5, 0, 0]);
    assert.deepEqual(drawn.columns[7], [3.5, 0, 0]);
    assert.equal(totals({ groups: [{ run_id: null, total_credits: 1 }] }, "run_id")[0].name,
        "(none)");
});

test("a stacked column stands on those behind it", () => {
    const data = [[1, 2], [1, 2], [10, null], [100, 200]];
    assert.deepEqual(stack(data), [[1, 2], [111, 202], [110, 200], [100, 200]]);
    assert.deepEqual(data[1], [1, 2]);
    assert.deepEqual(stack([[]]), [[]]);
});
