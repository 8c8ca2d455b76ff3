// The snapshot of current metrics, as it comes by WebSocket and by GET /api/metrics/current, read
// tolerantly: an absent part is an empty object, an absent figure null.

export type Figure = number | null;

export interface Quote {
    last: Figure;
    bid: Figure;
    ask: Figure;
    volume: Figure;
    trades: Figure;
    spread: Figure; // basis points
}

export interface Strategy {
    pnl: Figure;
    dailyPnl: Figure;
    positions: Figure;
    signals: Figure;
    winRate: Figure; // 0 to 1
}

export interface Execution {
    orders: Figure;
    fills: Figure;
    cancelled: Figure;
    rejected: Figure;
    fillRate: Figure; // 0 to 1
    latency: Figure; // ms
    slippage: Figure; // basis points
    p50: Figure;
    p95: Figure;
    p99: Figure;
}

export interface System {
    cpu: Figure;
    memory: Figure;
    disk: Figure;
    uptime: Figure; // s
    health: string;
    alerts: Figure;
    extra: Record<string, number>;
}

export interface Trade {
    trade_id: string;
    symbol: string;
    side: string;
    quantity: Figure;
    price: Figure;
    timestamp: string;
    latency_ms: Figure;
    slippage_bps: Figure;
    strategy: string | null;
}

export interface Snapshot {
    serverTime: number; // Unix seconds
    demo: boolean;
    symbols: Map<string, Quote>;
    totalVolume: Figure;
    totalTrades: Figure;
    strategies: Map<string, Strategy>;
    totalPnl: Figure;
    dailyPnl: Figure;
    openPositions: Figure;
    execution: Execution | null;
    system: System | null;
    trades: Trade[] | null;
}

type Json = Record<string, unknown>;

function object(value: unknown): Json {
    return typeof value === "object" && value !== null && !Array.isArray(value)
        ? (value as Json)
        : {};
}

function figure(value: unknown): Figure {
    return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function text(value: unknown): string {
    return typeof value === "string" ? value : "";
}

/** Originals wrote shares as 0 to 1 and as percent; both are read. */
function share(value: unknown): Figure {
    const number = figure(value);
    return number !== null && number > 1 ? number / 100 : number;
}

function quote(value: unknown): Quote {
    const json = object(value);
    const last = figure(json["last_price"]);
    const bid = figure(json["bid"]);
    const ask = figure(json["ask"]);
    const given = figure(json["spread_bps"]);
    const derived = bid !== null && ask !== null && last ? ((ask - bid) / last) * 10000 : null;
    return {
        last,
        bid,
        ask,
        volume: figure(json["volume"]),
        trades: figure(json["trades"]),
        spread: given ?? derived,
    };
}

function strategy(value: unknown): Strategy {
    const json = object(value);
    return {
        pnl: figure(json["pnl"]),
        dailyPnl: figure(json["daily_pnl"]),
        positions: figure(json["positions"]),
        signals: figure(json["signals"]),
        winRate: share(json["win_rate"]),
    };
}

/** Null before the first order: then there is nothing in it but zeros. */
function execution(json: Json): Execution | null {
    if (!figure(json["orders_today"]) && !json["updated_at"]) {
        return null;
    }
    const hasLatency = Boolean(figure(json["latency_p99_ms"]));
    const percentile = (name: string) => (hasLatency ? figure(json[name]) : null);
    return {
        orders: figure(json["orders_today"]),
        fills: figure(json["fills_today"]),
        cancelled: figure(json["cancelled"]),
        rejected: figure(json["rejected"]),
        fillRate: share(json["fill_rate"]),
        latency: figure(json["avg_latency_ms"]),
        slippage: figure(json["avg_slippage_bps"]),
        p50: percentile("latency_p50_ms"),
        p95: percentile("latency_p95_ms"),
        p99: percentile("latency_p99_ms"),
    };
}

const systemBasics = new Set([
    "timestamp", "cpu_percent", "memory_percent", "disk_usage_percent", "uptime", "health",
    "active_alerts",
]);

/** Null before the first measurement: no machine runs in no memory. */
function system(json: Json): System | null {
    if (!figure(json["cpu_percent"]) && !figure(json["memory_percent"])) {
        return null;
    }
    const extra: Record<string, number> = {};
    for (const [name, value] of Object.entries(json)) {
        const number = figure(value);
        if (number !== null && !systemBasics.has(name)) {
            extra[name] = number;
        }
    }
    return {
        cpu: figure(json["cpu_percent"]),
        memory: figure(json["memory_percent"]),
        disk: figure(json["disk_usage_percent"]),
        uptime: figure(json["uptime"] ?? json["uptime_seconds"]),
        health: text(json["health"]) || "unknown",
        alerts: figure(json["active_alerts"]),
        extra,
    };
}

export function trade(value: unknown): Trade {
    const json = object(value);
    return {
        trade_id: text(json["trade_id"]),
        symbol: text(json["symbol"]),
        side: text(json["side"]),
        quantity: figure(json["quantity"]),
        price: figure(json["price"]),
        timestamp: text(json["timestamp"]),
        latency_ms: figure(json["latency_ms"]),
        slippage_bps: figure(json["slippage_bps"]),
        strategy: text(json["strategy"]) || null,
    };
}

function trades(value: unknown): Trade[] | null {
    return Array.isArray(value) ? value.map(trade) : null;
}

function mapOf<T>(value: unknown, read: (item: unknown) => T): Map<string, T> {
    return new Map(Object.entries(object(value)).map(([name, item]) => [name, read(item)]));
}

/** Reads a snapshot; `fallbackTime` is used when it does not say the server's time. */
export function readSnapshot(value: unknown, fallbackTime: number): Snapshot {
    const json = object(value);
    const market = object(json["market_data"]);
    const strategies = object(json["strategy"]);
    return {
        serverTime: figure(json["server_time"]) ?? fallbackTime,
        demo: json["demo"] === true,
        symbols: mapOf(market["symbols"], quote),
        totalVolume: figure(market["total_volume"]),
        totalTrades: figure(market["total_trades"]),
        strategies: mapOf(strategies["strategies"], strategy),
        totalPnl: figure(strategies["total_pnl"]),
        dailyPnl: figure(strategies["daily_pnl"]),
        openPositions: figure(strategies["open_positions"]),
        execution: execution(object(json["execution"])),
        system: system(object(json["system"])),
        trades: trades(json["trades"]),
    };
}
