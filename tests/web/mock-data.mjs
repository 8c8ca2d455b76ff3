// Test support only: made-up figures in the shapes of the API. Everything is a function of the time
// and a seed, so that a restarted mock goes on where it was.

export const symbols = ["DEMO:ALFA", "DEMO:BRAVO", "DEMO:CHARLIE", "DEMO:DELTA", "DEMO:ECHO",
    "DEMO:FOXTROT", "DEMO:GOLF", "DEMO:HOTEL"];
export const strategies = ["demo-momentum", "demo-mean-reversion", "demo-pairs"];

const iso = (seconds) => new Date(seconds * 1000).toISOString().replace("Z", "");

/** A smooth wander between -1 and 1. */
export function wander(t, seed) {
    return (Math.sin(t / 7.3 + seed) + Math.sin(t / 2.9 + seed * 2.3) * 0.5 +
        Math.sin(t / 61 + seed * 5.1) * 1.4 + Math.sin(t * 1.7 + seed * 3) * 0.18) / 3.08;
}

const round = (value, decimals) => Number(value.toFixed(decimals));

export function quote(name, t) {
    const i = symbols.indexOf(name);
    const base = [187, 42, 1.0834, 3120, 0.0412, 96, 12.4, 640][i];
    const decimals = base < 1 ? 5 : base < 5 ? 4 : 2;
    const last = base * (1 + wander(t, i + 1) * 0.004);
    const half = base * (0.00006 + 0.00003 * Math.abs(wander(t * 3, i + 9)));
    const since = Math.floor(t) % 86400;
    return {
        last_price: round(last, decimals),
        bid: round(last - half, decimals + 1),
        ask: round(last + half, decimals + 1),
        volume: Math.floor((t % 86400) * (40 + i * 13) + 60 * Math.sin(t / 4 + i)),
        trades: Math.floor(since * (1.2 + i / 3)),
    };
}

export function strategy(name, t) {
    const i = strategies.indexOf(name);
    const pnl = 1500 * (1 - i) + 900 * wander(t / 2, i + 20);
    return {
        pnl: round(pnl, 2),
        daily_pnl: round(pnl * 0.3, 2),
        positions: 3 + i,
        signals: Math.floor((t % 86400) / (20 + 9 * i)),
        win_rate: round(0.54 + 0.05 * wander(t / 30, i + 2), 4),
    };
}

export function execution(t) {
    const orders = Math.floor((t % 86400) * 0.8);
    const rejected = Math.floor(orders * 0.012);
    const cancelled = Math.floor(orders * 0.04);
    const fills = orders - rejected - cancelled;
    return {
        orders_today: orders,
        fills_today: fills,
        cancelled,
        rejected,
        fill_rate: round(0.948 + 0.02 * wander(t, 31), 4),
        avg_latency_ms: round(2.1 + 0.8 * wander(t, 33), 3),
        avg_slippage_bps: round(0.6 + 0.4 * wander(t, 34), 3),
        latency_p50_ms: round(1.9 + 0.2 * wander(t / 20, 35), 3),
        latency_p95_ms: round(4.1 + 0.2 * wander(t / 20, 36), 3),
        latency_p99_ms: round(4.7 + 0.2 * wander(t / 20, 37), 3),
        updated_at: iso(t),
    };
}

/** What a server without orders says. */
const noExecution = {
    orders_today: 0, fills_today: 0, cancelled: 0, rejected: 0, fill_rate: 0, avg_latency_ms: 0,
    avg_slippage_bps: 0, latency_p50_ms: 0, latency_p95_ms: 0, latency_p99_ms: 0, updated_at: null,
};

export function system(t) {
    return {
        cpu_percent: round(38 + 26 * wander(t, 41), 2),
        memory_percent: round(61 + 3 * wander(t / 9, 42), 2),
        disk_usage_percent: round(47.2 + (t % 100) / 1000, 2),
        uptime: round(t % 1000000, 1),
        health: "healthy",
        active_alerts: 0,
        load1: 1.42,
        cpu_cores: 8,
        memory_used_bytes: 10.4 * 2 ** 30,
        memory_total_bytes: 16 * 2 ** 30,
        net_rx_bytes_per_second: 240000 + 90000 * wander(t, 44),
        net_tx_bytes_per_second: 91000 + 30000 * wander(t, 45),
    };
}

/** Trade number n; one comes every 0.7 s. */
export function trade(n) {
    const t = n * 0.7;
    const symbol = symbols[(n * 7) % symbols.length];
    const price = quote(symbol, t).last_price;
    return {
        trade_id: `demo-${n}`,
        symbol,
        side: (n * 13) % 5 < 3 ? "buy" : "sell",
        quantity: ((n * 37) % 19 + 1) * 10,
        price,
        timestamp: iso(t),
        latency_ms: round(1.1 + ((n * 29) % 40) / 11, 3),
        slippage_bps: round(((n * 17) % 21) / 10 - 0.8, 2),
        pnl: null,
        strategy: strategies[n % strategies.length],
        order_id: null,
    };
}

export const newestTrade = (t) => Math.floor(t / 0.7);

const sum = (items, key) => items.reduce((total, item) => total + item[key], 0);

/** The snapshot; an empty server has its host only. */
export function snapshot(t, options = {}) {
    const { empty = false, demo = true, monotonic = null, alerts = 0, written = {} } = options;
    const made = Object.fromEntries(empty ? [] : symbols.map((name) => [name, quote(name, t)]));
    const quotes = { ...made, ...written };
    const runs = Object.fromEntries(
        empty ? [] : strategies.map((name) => [name, strategy(name, t)]));
    const all = Object.values(runs);
    return {
        timestamp: monotonic ?? iso(t),
        market_data: {
            timestamp: iso(t),
            symbols: quotes,
            total_trades: sum(Object.values(quotes), "trades"),
            total_volume: sum(Object.values(quotes), "volume"),
            symbols_tracked: Object.keys(quotes).length,
        },
        strategy: {
            timestamp: iso(t),
            strategies: runs,
            total_pnl: round(sum(all, "pnl"), 2),
            daily_pnl: round(sum(all, "daily_pnl"), 2),
            open_positions: sum(all, "positions"),
            signals_generated: sum(all, "signals"),
        },
        execution: { timestamp: iso(t), ...(empty ? noExecution : execution(t)) },
        system: { timestamp: iso(t), ...system(t), active_alerts: alerts },
        trades: empty ? [] : Array.from({ length: 10 }, (_, i) => trade(newestTrade(t) - i)),
        ...(demo ? { demo: true } : {}),
        ...(monotonic === null ? {} : { server_time: t }),
    };
}

const ranges = { "1h": 3600, "24h": 86400, "7d": 604800, "30d": 2592000 };
const intervals = { "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "1d": 86400 };

/** The answer of POST /api/metrics/history. */
export function history(question, now, empty) {
    const end = question.end_time ? Date.parse(question.end_time) / 1000 : now;
    const start = question.time_range ? now - ranges[question.time_range]
        : question.start_time ? Date.parse(question.start_time) / 1000 : now - 3600;
    const step = intervals[question.interval ?? "5m"];
    const data = [];
    const raw = Math.max(1, (end - start) / 600);
    for (const type of empty ? [] : question.metric_types ?? ["market_data", "strategy"]) {
        for (let t = end; t >= start; t -= type === "market_data" ? step : raw) {
            data.push(...historyRows(type, t, step, question.symbols ?? symbols));
        }
    }
    return {
        start_time: iso(start), end_time: iso(end), interval: question.interval ?? "5m", data,
        count: data.length,
    };
}

function historyRows(type, t, step, wanted) {
    switch (type) {
        case "market_data":
            return wanted.filter((name) => symbols.includes(name)).map((symbol) => {
                const { last_price } = quote(symbol, t);
                return {
                    type, timestamp: iso(Math.floor(t / step) * step), symbol,
                    avg_price: last_price, high: last_price * 1.001, low: last_price * 0.999,
                    total_volume: Math.floor(step * 20 * (1.3 + wander(t, 3))),
                    total_trades: Math.floor(step / 3), avg_spread: 1.4,
                };
            });
        case "strategy":
            return strategies.map((name) =>
                ({ type, timestamp: iso(t), strategy_name: name, ...strategy(name, t) }));
        case "execution": {
            const e = execution(t);
            return [{
                type, timestamp: iso(t), orders_submitted: e.orders_today,
                orders_filled: e.fills_today, orders_cancelled: e.cancelled,
                orders_rejected: e.rejected, fill_rate: e.fill_rate,
                avg_latency_ms: e.avg_latency_ms, avg_slippage_bps: e.avg_slippage_bps,
            }];
        }
        default: {
            const s = system(t);
            return [{
                type: "system", timestamp: iso(t), cpu_percent: s.cpu_percent,
                memory_percent: s.memory_percent, disk_usage_percent: s.disk_usage_percent,
                uptime_seconds: s.uptime, health_status: s.health, active_alerts: 0,
            }];
        }
    }
}

/** Rows of market data by second, as the page asks for them when it opens. */
export function seconds(sql, now) {
    const from = Date.parse(`${sql.match(/TIMESTAMP '([^']*)'/)[1].replace(" ", "T")}Z`) / 1000;
    const rows = [];
    for (let t = Math.ceil(from); t < now - 1; t++) {
        for (const name of symbols) {
            const { last_price, bid, ask, volume } = quote(name, t);
            const spread = ((ask - bid) / last_price) * 1e4;
            rows.push([iso(t), name, last_price, bid, ask, spread, volume]);
        }
    }
    return rows;
}
