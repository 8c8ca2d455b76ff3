// The server's own state: health, store, collectors, stream, newest log lines, and this page.
import { getAny, messageOf } from "../lib/api";
import { h, setText } from "../lib/dom";
import { bytes, clock, date, duration, fixed, integer, millis, parseTime } from "../lib/format";
import { Poll } from "../lib/poll";
import { KeyedTable } from "../lib/table";
import { panel, problemLine, type View } from "../lib/ui";
import type { LiveStream } from "../live/stream";

type Json = Record<string, unknown>;

const object = (value: unknown): Json =>
    typeof value === "object" && value !== null ? (value as Json) : {};
const number = (value: unknown): number | null => (typeof value === "number" ? value : null);
const text = (value: unknown): string =>
    value === null || value === undefined ? "–" : String(value);

interface Component {
    name: string;
    status: string;
    uptime: number | null;
    collected: number | null;
    errors: number | null;
    note: string;
}

interface TableState {
    name: string;
    exists: boolean;
    rows: number | null;
    from: unknown;
    to: unknown;
}

interface LogLine {
    timestamp: string;
    level: string;
    component?: string;
    message: string;
}

const goodWords = new Set(["running", "healthy", "connected", "ok", "true"]);

/** A list of terms that changes in place. */
class Facts {
    readonly root = h("dl", { class: "facts" });
    private readonly values = new Map<string, HTMLElement>();

    set(name: string, value: string): void {
        let element = this.values.get(name);
        if (!element) {
            element = h("dd");
            this.values.set(name, element);
            this.root.append(h("div", null, h("dt", null, name), element));
        }
        setText(element, value);
    }
}

export class StatusView implements View {
    readonly id = "status";
    readonly label = "Status";
    readonly root: HTMLElement;
    private readonly problem = problemLine();
    private readonly service = new Facts();
    private readonly store = new Facts();
    private readonly streamFacts = new Facts();
    private readonly page = new Facts();
    private framesBefore: [frames: number, at: number] = [0, performance.now()];
    private readonly poll = new Poll(() => this.load(), 2000);
    private readonly components = new KeyedTable<Component>({
        caption: "Components",
        key: (c) => c.name,
        empty: "None.",
        columns: [
            { label: "Component", heading: true, text: (c) => c.name },
            {
                label: "Status", text: (c) => c.status,
                tone: (c) => (goodWords.has(c.status) ? "ok" : "bad"),
            },
            { label: "Uptime", numeric: true, text: (c) => duration(c.uptime) },
            { label: "Collected", numeric: true, text: (c) => integer(c.collected) },
            {
                label: "Errors", numeric: true, text: (c) => integer(c.errors),
                tone: (c) => (c.errors ? "warn" : ""),
            },
            { label: "Note", text: (c) => c.note },
        ],
    });
    private readonly tables = new KeyedTable<TableState>({
        caption: "Tables",
        key: (t) => t.name,
        empty: "None.",
        columns: [
            { label: "Table", heading: true, text: (t) => t.name },
            {
                label: "Rows", numeric: true, text: (t) => (t.exists ? integer(t.rows) : "missing"),
                tone: (t) => (t.exists ? "" : "bad"),
            },
            { label: "Oldest (UTC)", numeric: true, text: (t) => this.when(t.from) },
            { label: "Newest (UTC)", numeric: true, text: (t) => this.when(t.to) },
        ],
    });
    private readonly log = new KeyedTable<LogLine>({
        caption: "Newest log lines",
        key: (l) => `${l.timestamp} ${l.component ?? ""} ${l.message}`,
        empty: "No lines.",
        height: "log-table",
        columns: [
            { label: "Time (UTC)", text: (l) => this.when(l.timestamp) },
            {
                label: "Level", text: (l) => l.level.toLowerCase(),
                tone: (l) => (/ERR/i.test(l.level) ? "bad" : /WARN/i.test(l.level) ? "warn" : ""),
            },
            { label: "Part", text: (l) => l.component ?? "" },
            { label: "Message", text: (l) => l.message, tone: () => "wrap" },
        ],
    });

    constructor(private readonly stream: LiveStream) {
        const link = (href: string, label: string) => h("a", { href }, label);
        this.root = h("div", { class: "status-grid" }, this.problem.root,
            panel("Service", "service", [], this.service.root,
                h("p", { class: "links" }, link("docs", "API reference"),
                    link("openapi.json", "OpenAPI"), link("metrics", "Prometheus"))),
            panel("Store", "store", [], this.store.root),
            panel("Stream", "stream", [], this.streamFacts.root),
            panel("This page", "page", [], this.page.root),
            panel("Components", "components", [], this.components.root),
            panel("Tables", "tables", [], this.tables.root),
            panel("Log", "log", [], this.log.root));
    }

    show(): void {
        this.poll.start();
    }

    hide(): void {
        this.poll.stop();
    }

    private when(value: unknown): string {
        const ms = parseTime(value);
        return ms === null ? "–" : `${date(ms)} ${clock(ms)}`;
    }

    private async load(): Promise<void> {
        this.renderPage();
        try {
            const [alive, health, database, components, stats, logs] = await Promise.all([
                "health/live", "health", "database/health", "api/system/components",
                "api/system/stats", "api/system/logs/recent?limit=60",
            ].map(async (path) => object((await getAny(path)).body)));
            this.renderService(alive ?? {}, health ?? {});
            this.renderStore(database ?? {}, health ?? {});
            this.renderComponents(object(components?.["components"]));
            this.renderStream(object(components?.["components"]), object(stats?.["api"]));
            this.log.update((logs?.["logs"] as LogLine[] | undefined) ?? []);
            this.problem.set("");
        } catch (error) {
            this.problem.set(`The state of the server is not known: ${messageOf(error)}`);
        }
    }

    private renderService(alive: Json, health: Json): void {
        this.service.set("Health", text(health["status"]));
        if (health["detail"]) {
            this.service.set("Reason", text(health["detail"]));
        }
        this.service.set("Uptime", duration(number(alive["uptime_seconds"])));
        this.service.set("Write-ahead log", text(health["wal"]));
        this.service.set("Durable LSN", integer(number(health["durable_lsn"])));
        this.service.set("Applied LSN", integer(number(health["applied_lsn"])));
    }

    private renderStore(database: Json, health: Json): void {
        const isHealthy = database["database_healthy"] === true;
        this.store.set("Database", isHealthy ? "healthy" : "not healthy");
        if (database["error"]) {
            this.store.set("Reason", text(database["error"]));
        }
        this.store.set("State", text(database["state"] ?? health["store"]));
        this.store.set("File", text(database["database_path"]));
        this.store.set("Size", bytes(number(database["size_bytes"])));
        this.store.set("Memory", bytes(number(database["memory_bytes"])));
        this.store.set("Apply lag", millis(number(database["apply_lag_ms"])));
        this.store.set("Rebuilds", integer(number(database["rebuilds"])));
        this.tables.update(Object.entries(object(database["tables"])).map(([name, value]) => {
            const state = object(value);
            return {
                name,
                exists: state["exists"] !== false,
                rows: number(state["row_count"]),
                from: state["min_timestamp"],
                to: state["max_timestamp"],
            };
        }));
    }

    private renderComponents(components: Json): void {
        this.components.update(Object.entries(components).map(([name, value]) => {
            const c = object(value);
            const type = c["type"] ? `type ${text(c["type"])}` : "";
            const clients = c["connections"] === undefined
                ? "" : `${integer(number(c["connections"]))} connections`;
            return {
                name,
                status: text(c["status"]),
                uptime: number(c["uptime_seconds"]),
                collected: number(c["metrics_collected"]),
                errors: number(c["errors"]),
                note: text(c["last_error"] ?? c["detail"] ?? (type || clients)),
            };
        }));
    }

    private renderStream(components: Json, api: Json): void {
        const stats = object(object(components["websocket"])["stats"]);
        this.streamFacts.set("Connections", `${integer(number(stats["current_connections"] ??
            api["websocket_connections"]))} of ${integer(number(stats["max_connections"]))}`);
        this.streamFacts.set("Connections in all", integer(number(stats["total_connections"])));
        this.streamFacts.set("Frames sent",
            integer(number(api["total_messages_sent"] ?? stats["total_messages_sent"])));
        this.streamFacts.set("Frames skipped", integer(number(stats["frames_skipped"])));
        this.streamFacts.set("Errors", integer(number(stats["total_errors"])));
    }

    private renderPage(): void {
        const { frames, badFrames, connects, rttMs, clientId } = this.stream.stats;
        const now = performance.now();
        const [before, at] = this.framesBefore;
        this.framesBefore = [frames, now];
        this.page.set("Frames", integer(frames));
        this.page.set("Rate", `${fixed(((frames - before) / (now - at)) * 1000, 1)} Hz`);
        this.page.set("Not understood", integer(badFrames));
        this.page.set("Connections made", integer(connects));
        this.page.set("Round trip", millis(rttMs));
        this.page.set("Client id", clientId || "–");
    }
}
