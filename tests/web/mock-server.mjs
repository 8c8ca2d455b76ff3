// Test support only: a server with the API that the dashboard uses, made-up data and no storage. It
// can do what a real one cannot be asked to: fall silent, refuse, raise an alert, be empty.
import { createHash, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import * as data from "./mock-data.mjs";
import { MockSpend } from "./mock-spend.mjs";

const dist = new URL("../../web/dist/", import.meta.url).pathname;
const header = readFileSync(new URL("../../src/web/web_assets.h", import.meta.url), "utf8");

/** The policy that the program sends, read from where it is defined. */
const policy = [...header.match(/CONTENT_SECURITY_POLICY([^]*?)\n\n/)[1].matchAll(/"([^"]*)"/g)]
    .map(([, text]) => text).join("");

const types = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
};

const openapi = {
    openapi: "3.1.0",
    info: { title: "Eider", version: "0.0.0", description: "A mock of the `real` server." },
    paths: {
        "/api/trades/": { get: {
            tags: ["Trades"], summary: "Trades, newest first",
            parameters: [
                { name: "symbol", in: "query", description: "Only this symbol.",
                    schema: { type: "string" } },
                { name: "limit", in: "query", schema: { type: "integer", minimum: 1, maximum: 1000,
                    default: 100 } },
            ],
            responses: { 200: { description: "Success", content: { "application/json": {
                schema: { $ref: "#/components/schemas/TradeList" } } } } },
        } },
        "/api/v1/sql": { post: {
            tags: ["Query"], summary: "Run one read-only SQL statement",
            requestBody: { required: true, content: { "application/json": {
                schema: { $ref: "#/components/schemas/SqlRequest" } } } },
            responses: { 200: { description: "Success" } },
        } },
        "/health": { get: { tags: ["Health"], summary: "Health", responses: {} } },
    },
    components: { schemas: {
        SqlRequest: { type: "object", required: ["sql"],
            properties: { sql: { type: "string", example: "SELECT 1" } } },
        TradeList: { type: "object", properties: {
            trades: { type: "array", items: { $ref: "#/components/schemas/trades" } },
            total: { type: "integer" } } },
        trades: { type: "object", description: "One fill.", properties: {
            trade_id: { type: "string" }, price: { type: "number", "x-unit": "USD" } } },
    } },
};

function textFrame(text) {
    const body = Buffer.from(text);
    const head = Buffer.alloc(10);
    head[0] = 0x81;
    head[1] = body.length > 65535 ? 127 : body.length > 125 ? 126 : body.length;
    if (head[1] === 126) {
        head.writeUInt16BE(body.length, 2);
    } else if (head[1] === 127) {
        head.writeBigUInt64BE(BigInt(body.length), 2);
    }
    return Buffer.concat([head.subarray(0, { 126: 4, 127: 10 }[head[1]] ?? 2), body]);
}

/** Texts of the short masked frames that a browser sends; none of them is cut here. */
function* readTexts(chunk) {
    while (chunk.length >= 6) {
        const length = chunk[1] & 0x7f;
        const mask = chunk.subarray(2, 6);
        const body = chunk.subarray(6, 6 + length);
        if ((chunk[0] & 0x0f) === 1) {
            yield Buffer.from(body.map((byte, i) => byte ^ mask[i % 4])).toString();
        }
        chunk = chunk.subarray(6 + length);
    }
}

export class MockServer {
    constructor(options = {}) {
        this.options = { demo: true, empty: false, token: null, ...options };
        this.port = options.port ?? 0;
        this.silent = false; // true: no frames
        this.unhealthy = null; // a reason
        this.alerts = [];
        this.acknowledged = [];
        this.requests = [];
        this.clients = new Set();
        this.spenders = new Set(); // those of them that asked for spending
        this.spend = new MockSpend(() => this.now(), { empty: this.options.empty });
        this.sockets = new Set();
    }

    get url() {
        return `http://127.0.0.1:${this.port}/`;
    }

    async start() {
        this.server = createServer((request, response) => void this.answer(request, response));
        this.server.on("upgrade", (request, socket) => this.upgrade(request, socket));
        this.server.on("connection", (socket) => {
            this.sockets.add(socket);
            socket.on("close", () => this.sockets.delete(socket));
        });
        await new Promise((resolve, reject) => {
            this.server.once("error", reject);
            this.server.listen(this.port, "127.0.0.1", resolve);
        });
        this.port = this.server.address().port;
        this.ticker = setInterval(() => this.tick(), 100);
        return this;
    }

    async stop() {
        clearInterval(this.ticker);
        const closed = new Promise((resolve) => this.server.close(resolve));
        for (const socket of this.sockets) {
            socket.destroy();
        }
        await closed;
    }

    now() {
        return Date.now() / 1000;
    }

    activeAlerts() {
        return this.alerts.filter((alert) => alert.active).length;
    }

    tick() {
        if (this.silent || this.clients.size === 0) {
            return;
        }
        const snapshot = data.snapshot(this.now(), {
            ...this.options, monotonic: performance.now() / 1000, alerts: this.activeAlerts(),
        });
        const frame = textFrame(JSON.stringify(snapshot));
        const full = this.spenders.size === 0 ? null : textFrame(JSON.stringify({
            ...snapshot, spend: this.spend.frame(),
        }));
        for (const socket of this.clients) {
            socket.write(this.spenders.has(socket) ? full : frame);
        }
    }

    /** A text to every WebSocket client. */
    say(text) {
        for (const socket of this.clients) {
            socket.write(textFrame(text));
        }
    }

    allowed(request) {
        const { token } = this.options;
        const url = new URL(request.url, this.url);
        return !token || request.headers.authorization === `Bearer ${token}` ||
            url.searchParams.get("access_token") === token;
    }

    upgrade(request, socket) {
        socket.on("error", () => {});
        if (!this.allowed(request)) {
            socket.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n");
            return;
        }
        const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
        socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" +
            "Connection: Upgrade\r\nSec-WebSocket-Accept: " +
            `${createHash("sha1").update(key).digest("base64")}\r\n\r\n`);
        socket.write(textFrame(JSON.stringify({
            type: "connected", client_id: randomUUID(), server_time: this.now(),
            update_frequency_hz: 10,
        })));
        this.clients.add(socket);
        socket.on("close", () => {
            this.clients.delete(socket);
            this.spenders.delete(socket);
        });
        socket.on("data", (chunk) => {
            for (const text of readTexts(chunk)) {
                this.hear(socket, text);
            }
        });
    }

    hear(socket, text) {
        if (text === "ping") {
            socket.write(textFrame("pong"));
        } else if (/^subscribe:.*spend/.test(text)) {
            this.spenders.add(socket);
        } else if (/^unsubscribe:.*spend/.test(text)) {
            this.spenders.delete(socket);
        }
    }

    async answer(request, response) {
        const chunks = [];
        for await (const chunk of request) {
            chunks.push(chunk);
        }
        const url = new URL(request.url, this.url);
        this.requests.push(`${request.method} ${url.pathname}`);
        if (this.sendFile(url.pathname, response)) {
            return;
        }
        const open = /^\/(health|openapi)/.test(url.pathname);
        const [status, body] = open || this.allowed(request)
            ? this.route(request.method, url, Buffer.concat(chunks).toString())
            : [401, { detail: "a token is needed" }];
        response.writeHead(status, { "Content-Type": "application/json" });
        response.end(JSON.stringify(body));
    }

    sendFile(path, response) {
        const name = { "/": "index.html", "/docs": "docs.html" }[path] ?? normalize(path).slice(1);
        let body;
        try {
            body = readFileSync(join(dist, name));
        } catch {
            return false;
        }
        response.writeHead(200, {
            "Content-Type": types[extname(name)] ?? "application/octet-stream",
            "Content-Security-Policy": policy,
        });
        response.end(body);
        return true;
    }

    route(method, url, body) {
        const now = this.now();
        const { empty } = this.options;
        const path = url.pathname;
        if (method === "POST" && path.startsWith("/api/system/alerts/acknowledge/")) {
            const id = decodeURIComponent(path.split("/").at(-1));
            this.acknowledged.push(id);
            this.alerts = this.alerts.map((alert) => (alert.alert_id === id
                ? { ...alert, acknowledged_at: new Date().toISOString() } : alert));
            return [200, { status: "acknowledged", alert_id: id }];
        }
        if (method === "POST" && path.startsWith("/api/v1/ingest/")) {
            const row = JSON.parse(body);
            this.options.empty = false; // this row, and all the made-up ones
            if (path.endsWith("/market_data")) {
                this.options.written = { ...this.options.written, [row.symbol]: row };
            }
            return [200, { accepted: 1, rejected: 0, errors: [], lsn: 1 }];
        }
        const spent = /^\/api\/v1\/(spend|events)/.test(path)
            ? this.spend.route(method, url, body) : null;
        if (spent) {
            return spent;
        }
        switch (`${method} ${path}`) {
            case "GET /openapi.json":
                return [200, openapi];
            case "GET /health":
                return this.unhealthy
                    ? [503, { status: "unhealthy", detail: this.unhealthy }]
                    : [200, {
                        status: "healthy", wal: "healthy", durable_lsn: 99, applied_lsn: 98,
                    }];
            case "GET /health/ready":
                return [this.unhealthy ? 503 : 200, {
                    ready: !this.unhealthy,
                    receiving: {
                        market_data: !empty, strategy: !empty, execution: !empty, system: true,
                    },
                }];
            case "GET /health/live":
                return [200, { alive: true, uptime_seconds: 4242.5 }];
            case "GET /api/metrics/current":
            case "GET /api/metrics/summary":
                return [200, data.snapshot(now, this.options)];
            case "POST /api/metrics/history":
                return [200, data.history(JSON.parse(body), now, empty)];
            case "POST /api/v1/sql":
                return this.sql(JSON.parse(body).sql);
            case "GET /api/trades/":
                return [200, this.trades(url.searchParams, now)];
            case "GET /api/trades/stats/summary":
                return [200, {
                    count: 4210, total_volume: 8123456.5, avg_price: 402.1, avg_size: 99.5,
                    buy_count: 2500, sell_count: 1710,
                }];
            case "GET /api/system/alerts":
                return [200, { alerts: this.alerts }];
            default:
                return this.routeStatus(path, now);
        }
    }

    routeStatus(path, now) {
        const collector = {
            status: "running", uptime_seconds: 900, metrics_collected: 900, errors: 0,
        };
        switch (path) {
            case "/database/health":
                return [200, {
                    database_healthy: true, database_path: "data/eider.duckdb", state: "running",
                    tables: { market_data: {
                        exists: true, row_count: 123456, min_timestamp: "2026-01-01T00:00:00",
                        max_timestamp: new Date(now * 1000).toISOString().slice(0, -1),
                    } },
                    size_bytes: 12345678, memory_bytes: 34567890, apply_lag_ms: 1.2, rebuilds: 0,
                }];
            case "/api/system/components":
                return [200, { status: "healthy", components: {
                    system: { name: "system", ...collector }, demo: { name: "demo", ...collector },
                    websocket: { status: "running", connections: this.clients.size, stats: {
                        current_connections: this.clients.size, max_connections: 10000,
                        total_connections: 7, frames_skipped: 0, total_errors: 0,
                    } },
                } }];
            case "/api/system/stats":
                return [200, { api: { running: true, total_messages_sent: 1234 } }];
            case "/api/v1/databases":
                return [200, { databases: [{ name: "default", state: "serving" }], count: 1 }];
            case "/api/system/logs/recent":
                return [200, { logs: [{
                    timestamp: "2026-01-01T00:00:00", level: "INFO", component: "server",
                    message: "listening on 127.0.0.1",
                }] }];
            default:
                return [404, { detail: "Not Found" }];
        }
    }

    trades(query, now) {
        const limit = Number(query.get("limit") ?? 100);
        const offset = Number(query.get("offset") ?? 0);
        const newest = data.newestTrade(now);
        const all = this.options.empty ? [] : Array.from({ length: 400 }, (_, i) =>
            data.trade(newest - i));
        const matching = all.filter((t) =>
            (!query.get("symbol") || t.symbol === query.get("symbol")) &&
            (!query.get("side") || t.side === query.get("side")));
        return {
            trades: matching.slice(offset, offset + limit), total: matching.length, limit, offset,
        };
    }

    sql(text) {
        if (!/^\s*select\b/i.test(text)) {
            return [400, { detail: 'Parser Error: syntax error at or near "SELEC"',
                code: "EIDER_SYNTAX" }];
        }
        if (/information_schema/.test(text)) {
            const rows = [["trades", "symbol", "VARCHAR"], ["trades", "price", "DOUBLE"]];
            return [200, { columns: [], rows, row_count: 2, elapsed_ms: 1 }];
        }
        if (/arg_max/.test(text)) {
            return [200, { columns: [], rows: data.seconds(text, this.now()), elapsed_ms: 1 }];
        }
        return [200, {
            columns: [{ name: "symbol", type: "VARCHAR" }, { name: "trades", type: "BIGINT" },
                { name: "value", type: "DOUBLE" }],
            rows: data.symbols.map((name, i) => [name, 100 + i, i === 3 ? null : 1234.5 * i]),
            row_count: data.symbols.length, elapsed_ms: 2.25, truncated: false,
        }];
    }
}

// `node tests/web/mock-server.mjs [port]` lets one look at the page without the real server.
if (process.argv[1] && import.meta.url.endsWith(process.argv[1].split("/").at(-1))) {
    const server = await new MockServer({ port: Number(process.argv[2] ?? 8000) }).start();
    console.log(`mock at ${server.url}`);
}
