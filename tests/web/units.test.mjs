// The page's pure modules: histories, formats, pauses, plots, snapshots, OpenAPI; and the contrast
// of its colours.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { runnerImport } from "vite";

const source = (path) => new URL(`../../web/${path}`, import.meta.url).pathname;
const load = async (path) => (await runnerImport(source(`src/${path}`))).module;

const { Frames, perSecond } = await load("live/frames.ts");
const { LiveStore } = await load("live/store.ts");
const { readSnapshot } = await load("live/shapes.ts");
const { backoff } = await load("live/backoff.ts");
const { historyTypes, plotOfAnswer } = await load("views/plots.ts");
const format = await load("lib/format.ts");
const openapi = await load("docs/openapi.ts");

test("frames keep the newest points and no more than twice the bound", () => {
    const frames = new Frames(10);
    for (let i = 1; i <= 1000; i++) {
        frames.push(i, { a: i });
        assert.ok(frames.length < 20);
    }
    const [times, a] = frames.view(0, ["a"]);
    assert.deepEqual(times, [991, 992, 993, 994, 995, 996, 997, 998, 999, 1000]);
    assert.deepEqual(a, times);
});

test("frames drop a time that does not rise", () => {
    const frames = new Frames(10);
    frames.push(5, { a: 1 });
    frames.push(5, { a: 2 });
    frames.push(4, { a: 3 });
    assert.deepEqual(frames.view(0, ["a"]), [[5], [1]]);
});

test("frames fill columns that come late or stay away with null", () => {
    const frames = new Frames(10, 2);
    frames.push(1, { a: 1 });
    frames.push(2, { b: 2, c: 3 });
    frames.gap(3);
    frames.push(4, { a: NaN });
    assert.deepEqual(frames.names(), ["a", "b"]); // c is beyond the bound of columns
    assert.deepEqual(frames.view(0, ["a", "b", "c"]), [
        [1, 2, 3, 4], [1, null, null, null], [null, 2, null, null], [null, null, null, null],
    ]);
});

test("frames view begins one point before the time asked for", () => {
    const frames = new Frames(10);
    [1, 2, 3, 4].forEach((t) => frames.push(t, { a: t * 10 }));
    assert.deepEqual(frames.view(2.5, ["a"]), [[2, 3, 4], [20, 30, 40]]);
    assert.equal(frames.firstSince("a", 2.5), 30);
    assert.equal(frames.firstSince("a", 9), null);
});

test("frames prepend only what is older, and only what has room", () => {
    const frames = new Frames(4);
    frames.push(10, { a: 1 });
    frames.push(11, { a: 2 });
    frames.prepend([7, 8, 9, 10, 11], { a: [70, 80, 90, 100, 110], b: [1, 2, 3, 4, 5] });
    assert.deepEqual(frames.view(0, ["a", "b"]), [
        [8, 9, 10, 11], [80, 90, 1, 2], [2, 3, null, null],
    ]);
});

test("perSecond adds up growth, spreads it, and forgets gaps and restarts", () => {
    assert.deepEqual(perSecond([1.1, 1.6, 2.2, 2.9], [100, 110, 115, 135]), [[1, 2], [10, 25]]);
    assert.deepEqual(perSecond([1, 5], [0, 40]), [[1, 2, 3, 4, 5], [0, 10, 10, 10, 10]]);
    assert.deepEqual(perSecond([1, 2], [1000, 30]), [[1, 2], [0, 30]]); // restarted at zero
    assert.deepEqual(perSecond([1, 2], [1000, 990]), [[1, 2], [0, 0]]); // corrected
    assert.deepEqual(perSecond([1, 1.5, 3], [10, null, 90]), [[1, 3], [0, 0]]);
});

test("backoff doubles from half a second to fifteen and takes off up to half", () => {
    assert.deepEqual([0, 1, 2, 5, 50].map((n) => backoff(n, 0)), [500, 1000, 2000, 15000, 15000]);
    assert.equal(backoff(1, 1), 500);
    assert.equal(backoff(50, 0.5), 11250);
});

test("format writes numbers that stand below each other", () => {
    assert.equal(format.fixed(-1234.5, 2), "−1,234.50");
    assert.equal(format.fixed(-0.001, 2), "0.00");
    assert.equal(format.fixed(null, 2), "–");
    assert.equal(format.fixed(Infinity, 2), "–");
    assert.equal(format.signed(3, 1), "+3.0");
    assert.equal(format.signed(0.001, 1), "0.0");
    assert.equal(format.compact(999), "999");
    assert.equal(format.compact(12345), "12.3k");
    assert.equal(format.compact(-4.567e6), "−4.57M");
    assert.equal(format.bytes(1536), "1.5 KiB");
    assert.equal(format.bytes(5 * 2 ** 40), "5.0 TiB");
    assert.equal(format.columnDecimals([1.5, 2.25, null, "x"]), 2);
});

test("format gives a price the decimals that it has", () => {
    assert.equal(format.price(187.2), "187.20");
    assert.equal(format.price(1.04519), "1.04519");
    assert.equal(format.price(187.24000000000001), "187.24");
    assert.equal(format.price(0.00001234), "0.00001234");
    assert.equal(format.price(92047.425), "92,047.425");
    assert.deepEqual([0.25, 5, 0.00001].map(format.stepDecimals), [2, 0, 5]);
});

test("format reads times without a zone as UTC", () => {
    const ms = Date.UTC(2026, 0, 2, 3, 4, 5);
    assert.equal(format.parseTime("2026-01-02T03:04:05"), ms);
    assert.equal(format.parseTime("2026-01-02 03:04:05.250"), ms + 250);
    assert.equal(format.parseTime("2026-01-02T04:04:05+01:00"), ms);
    assert.equal(format.parseTime("soon"), null);
    assert.equal(format.parseTime(5), null);
    assert.equal(format.clockMillis(ms + 7), "03:04:05.007");
    assert.equal(format.duration(0.25), "250 ms");
    assert.equal(format.duration(3725), "1 h 02 m");
    assert.equal(format.duration(200000), "2 d 7 h");
});

test("format quotes what CSV needs quoted", () => {
    assert.equal(format.csv(["a", "b"], [['x,"y"', null], [{ k: 1 }, "l\nm"]]),
        'a,b\r\n"x,""y""",\r\n"{""k"":1}","l\nm"\r\n');
});

test("snapshot of an empty server has nothing to show", () => {
    const snapshot = readSnapshot({
        market_data: { symbols: {} }, strategy: { strategies: {} },
        execution: { orders_today: 0, fill_rate: 0, updated_at: null },
        system: { cpu_percent: 0, memory_percent: 0, health: "unknown" }, trades: [],
    }, 7);
    assert.equal(snapshot.serverTime, 7);
    assert.equal(snapshot.symbols.size, 0);
    assert.equal(snapshot.execution, null);
    assert.equal(snapshot.system, null);
    assert.equal(snapshot.demo, false);
});

test("snapshot is read whatever is missing or of the wrong kind", () => {
    for (const value of [null, 3, "x", [], {}, { market_data: 5, strategy: [], system: null }]) {
        assert.equal(readSnapshot(value, 1).symbols.size, 0);
    }
    const { symbols } = readSnapshot({
        market_data: { symbols: { A: { last_price: 100, bid: 99, ask: 101 }, B: null } },
    }, 1);
    assert.equal(symbols.get("A").spread, 200);
    assert.equal(symbols.get("B").last, null);
});

const frameAt = (t, symbols) => ({
    server_time: t, system: { cpu_percent: t, memory_percent: 1 },
    market_data: { symbols: Object.fromEntries(symbols.map((name) => [name, { last_price: t }])) },
});

test("store breaks its lines where frames were missing", () => {
    const store = new LiveStore();
    [100, 100.1, 103].forEach((t) => store.frame(frameAt(t, ["A"])));
    assert.deepEqual(store.host.view(0, ["cpu"])[1], [100, 100.1, null, 103]);
    assert.deepEqual(store.symbols.get("A").fine.view(0, ["last"])[1], [100, 100.1, null, 103]);
});

test("store bounds the symbols it follows, and those it follows in detail", () => {
    const store = new LiveStore();
    const names = Array.from({ length: 2500 }, (_, i) => `S${i}`);
    store.frame(frameAt(100, names));
    assert.equal(store.symbols.size, 2000);
    assert.equal(store.symbolsSeen, 2500);
    const detailed = () => [...store.symbols.values()].filter((track) => track.fine).length;
    assert.equal(detailed(), 32);
    assert.ok(store.want("S1500").fine);
    assert.equal(detailed(), 32);
    assert.equal(store.want("S2400"), null);
    store.frame(frameAt(101, ["S3"]));
    assert.deepEqual([...store.symbols.keys()], ["S3"]);
});

test("store starts anew when the server's clock is set back", () => {
    const store = new LiveStore();
    store.frame(frameAt(1000, ["A"]));
    store.frame(frameAt(500, ["A"]));
    assert.deepEqual(store.host.view(0, ["cpu"]), [[500], [500]]);
});

test("plots show one symbol as prices and several as change", () => {
    const row = (timestamp, symbol, avg_price) =>
        ({
            timestamp, symbol, avg_price, high: avg_price + 1, low: avg_price - 1, total_volume: 5,
        });
    const rows = [row("2026-01-01T00:01:00", "A", 11), row("2026-01-01T00:00:00", "A", 10)];
    const [price, volume] = historyTypes.market_data.plots(rows);
    const start = Date.UTC(2026, 0, 1) / 1000;
    assert.deepEqual(price.data, [[start, start + 60], [10, 11], [11, 12], [9, 10]]);
    assert.deepEqual(volume.data[1], [5, 5]);
    const [change] = historyTypes.market_data.plots([...rows, row("2026-01-01T00:00:00", "B", 4)]);
    assert.deepEqual(change.data[1].map((v) => Math.round(v)), [0, 10]);
    assert.deepEqual(change.data[2], [0, null]);
});

test("plots draw a SQL answer only when it is a series over time", () => {
    const columns = [{ name: "t", type: "TIMESTAMP" }, { name: "v", type: "DOUBLE" }];
    const rows = [["2026-01-01T00:01:00", 2], ["2026-01-01T00:00:00", 1]];
    assert.deepEqual(plotOfAnswer(columns, rows).data[1], [1, 2]);
    assert.equal(plotOfAnswer([{ name: "s", type: "VARCHAR" }, columns[1]], rows), null);
    assert.equal(plotOfAnswer(columns, rows.slice(1)), null);
    assert.equal(plotOfAnswer([], []), null);
});

const description = {
    openapi: "3.1.0", info: { title: "x", version: "1" },
    paths: {
        "/a/{id}": {
            parameters: [{ $ref: "#/components/parameters/id" }],
            get: { tags: ["Two"], parameters: [{ name: "q", in: "query" }] },
            post: { tags: ["One"] },
        },
    },
    tags: [{ name: "One" }],
    components: {
        parameters: { id: { name: "id", in: "path", required: true } },
        schemas: {
            Node: { type: "object", required: ["name"], properties: {
                name: { type: "string" }, next: { $ref: "#/components/schemas/Node" },
                at: { type: "string", format: "date-time" },
                list: { type: "array", items: { $ref: "#/components/schemas/Node" } },
            } },
            Both: { allOf: [{ $ref: "#/components/schemas/Node" },
                { properties: { extra: { type: "integer", minimum: 3 } } }] },
        },
    },
};

test("openapi groups operations and joins shared parameters", () => {
    const operations = openapi.operationsOf(description);
    assert.deepEqual(operations.map((o) => o.id), ["get-a-id", "post-a-id"]);
    assert.deepEqual(operations[0].parameters.map((p) => p.name), ["id", "q"]);
    const groups = openapi.groupsOf(description, operations);
    assert.deepEqual(groups.map(([name]) => name), ["One", "Two"]);
});

test("openapi names types and makes examples, also of schemas that hold themselves", () => {
    const node = { $ref: "#/components/schemas/Node" };
    assert.equal(openapi.typeName(description, { type: "array", items: node }), "array of Node");
    assert.equal(openapi.typeName(description, { type: ["string", "null"] }), "string or null");
    const example = openapi.exampleOf(description, node);
    assert.equal(example.name, "text");
    assert.equal(example.at, "2026-01-02T03:04:05Z");
    assert.equal(JSON.stringify(example).length > 0, true);
    assert.equal(openapi.exampleOf(description, { $ref: "#/components/schemas/Both" }).extra, 3);
    assert.equal(openapi.exampleOf(description, { $ref: "#/no/where" }), null);
    assert.deepEqual(openapi.exampleOf(description, { type: "array", items: {} }), []);
});

/** Relative luminance (WCAG 2). */
function luminance(hex) {
    const [r, g, b] = [1, 3, 5].map((i) => {
        const value = parseInt(hex.slice(i, i + 2), 16) / 255;
        return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a, b) {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
}

test("colours have the contrast that WCAG AA asks for, in both themes", () => {
    const css = readFileSync(source("styles/base.css"), "utf8");
    const [dark, light] = [...css.matchAll(/:root[^{]*\{([^}]*)\}/g)].map(([, body]) =>
        Object.fromEntries([...body.matchAll(/--([\w-]+): (#\w{6});/g)].map((m) => [m[1], m[2]])));
    const texts = ["text", "muted", "accent", "up", "down", "ok", "warn", "bad", "demo"];
    for (const colours of [dark, light]) {
        for (const ground of ["bg", "panel", "raised", "field"]) {
            for (const text of texts) {
                const ratio = contrast(colours[text], colours[ground]);
                assert.ok(ratio >= 4.5, `${text} on ${ground}: ${ratio.toFixed(2)}`);
            }
        }
        assert.ok(contrast(colours["accent-text"], colours.accent) >= 4.5);
        assert.ok(contrast(colours.focus, colours.panel) >= 3);
        for (let i = 1; i <= 8; i++) {
            const ratio = contrast(colours[`s${i}`], colours.panel);
            assert.ok(ratio >= 3, `s${i} on panel: ${ratio.toFixed(2)}`);
        }
    }
});
