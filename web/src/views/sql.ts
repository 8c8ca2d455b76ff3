// SQL: one read-only statement, its answer as a table, and as a chart when it is a time series.
import { messageOf, postJson } from "../lib/api";
import { Chart } from "../lib/chart";
import { download, h, setText } from "../lib/dom";
import { columnDecimals, csv, dateTime, fixed, integer, parseTime } from "../lib/format";
import { KeyedTable } from "../lib/table";
import { field, panel, problemLine, select, type View } from "../lib/ui";
import { plotOfAnswer } from "./plots";

interface Answer {
    columns: { name: string; type: string }[];
    rows: unknown[][];
    row_count: number;
    elapsed_ms: number;
    truncated?: boolean;
}

const ROWS_SHOWN = 1000;
const stored = "eider.sql";

const examples: [label: string, sql: string][] = [
    ["Value traded by symbol", `SELECT symbol, count(*) AS trades, sum(quantity * price) AS value,
       avg(latency_ms) AS avg_latency_ms
FROM trades
GROUP BY symbol
ORDER BY value DESC`],
    ["One-minute candles", `SELECT time_bucket(INTERVAL 1 MINUTE, timestamp) AS minute,
       first(last_price ORDER BY timestamp) AS open, max(last_price) AS high,
       min(last_price) AS low, last(last_price ORDER BY timestamp) AS close
FROM market_data
WHERE symbol = (SELECT min(symbol) FROM market_data)
GROUP BY minute
ORDER BY minute DESC
LIMIT 120`],
    ["Latency percentiles by strategy", `SELECT strategy, count(*) AS trades,
       quantile_cont(latency_ms, 0.50) AS p50, quantile_cont(latency_ms, 0.95) AS p95,
       quantile_cont(latency_ms, 0.99) AS p99
FROM trades
GROUP BY strategy
ORDER BY p99 DESC`],
    ["CPU by minute", `SELECT time_bucket(INTERVAL 1 MINUTE, timestamp) AS minute,
       avg(cpu_percent) AS cpu, avg(memory_percent) AS memory
FROM system_metrics
GROUP BY minute
ORDER BY minute DESC
LIMIT 120`],
    ["Best and worst strategies", `SELECT strategy_name, last(pnl ORDER BY timestamp) AS pnl,
       max(pnl) AS best, min(pnl) AS worst
FROM strategy_metrics
GROUP BY strategy_name
ORDER BY pnl DESC`],
    ["Newest metrics", `SELECT timestamp, metric_name, symbol, value, labels
FROM trading_metrics
ORDER BY timestamp DESC
LIMIT 100`],
];

function remembered(): string {
    try {
        return sessionStorage.getItem(stored) ?? "";
    } catch {
        return "";
    }
}

function remember(sql: string): void {
    try {
        sessionStorage.setItem(stored, sql);
    } catch {
        // then it is forgotten with the page
    }
}

const isFractional = (type: string) => /DOUBLE|FLOAT|DECIMAL/.test(type);

function cellText(value: unknown, type: string, decimals: number): string {
    if (value === null || value === undefined) {
        return "NULL";
    }
    if (typeof value === "number") {
        return isFractional(type) ? fixed(value, decimals) : String(value);
    }
    if (type.startsWith("TIMESTAMP")) {
        const ms = parseTime(value);
        return ms === null ? String(value) : dateTime(ms);
    }
    return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export class SqlView implements View {
    readonly id = "sql";
    readonly label = "SQL";
    readonly root: HTMLElement;
    private request: AbortController | null = null;
    private answer: Answer | null = null;
    private chart: Chart | null = null;
    private tablesKnown = false;
    private readonly text = h("textarea", {
        rows: 7, spellcheck: "false", autocapitalize: "off", autocomplete: "off", class: "mono",
    });
    private readonly example = select(
        [["", "Choose…"],
            ...examples.map(([label], i): [string, string] => [String(i), label])], "");
    private readonly run = h("button", { type: "submit", class: "button primary" }, "Run");
    private readonly saveButton = h("button", {
        type: "button", class: "button", disabled: true, onclick: () => this.save(),
    }, "Download CSV");
    private readonly problem = problemLine();
    private readonly note = h("p", { class: "result-note", role: "status" });
    private readonly result = h("div");
    private readonly tables = h("div", { class: "schema" });

    constructor() {
        this.text.value = remembered() || (examples[0]?.[1] ?? "");
        const form = h("form", { class: "sql-form" },
            field("Statement", this.text, "Read-only. Ctrl + Enter runs it."),
            h("div", { class: "form-row" }, this.run, this.saveButton,
                field("Example", this.example)));
        form.addEventListener("submit", (event) => {
            event.preventDefault();
            void this.query();
        });
        this.text.addEventListener("keydown", (event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
                event.preventDefault();
                void this.query();
            }
        });
        this.example.addEventListener("change", () => {
            const sql = examples[Number(this.example.value)]?.[1];
            if (this.example.value && sql) {
                this.text.value = sql;
                void this.query();
            }
        });
        this.root = panel("SQL", "sql", [],
            h("div", { class: "sql-body" },
                h("div", { class: "sql-main" }, form, this.problem.root, this.note, this.result),
                h("aside", { class: "sql-side", "aria-label": "Tables" }, h("h3", null, "Tables"),
                    this.tables)));
    }

    show(): void {
        if (!this.tablesKnown) {
            this.tablesKnown = true;
            void this.loadTables();
        }
    }

    hide(): void {}

    private async loadTables(): Promise<void> {
        try {
            const { rows } = await postJson<Answer>("api/v1/sql", {
                sql: "SELECT table_name, column_name, data_type FROM information_schema.columns " +
                    "WHERE table_schema = 'main' ORDER BY table_name, ordinal_position",
            });
            const tables = new Map<string, [string, string][]>();
            for (const [table, column, type] of rows) {
                const columns = tables.get(String(table)) ?? [];
                columns.push([String(column), String(type)]);
                tables.set(String(table), columns);
            }
            this.tables.replaceChildren(...[...tables].map(([name, columns]) =>
                h("details", null, h("summary", { class: "mono" }, name),
                    h("ul", null, columns.map(([column, type]) =>
                        h("li", null, h("span", { class: "mono" }, column), " ",
                            h("span", { class: "faint" }, type.toLowerCase())))))));
        } catch (error) {
            this.tablesKnown = false;
            this.tables.replaceChildren(h("p", { class: "hint" }, messageOf(error)));
        }
    }

    private async query(): Promise<void> {
        const sql = this.text.value.trim();
        if (!sql) {
            this.problem.set("Write a SELECT statement first.");
            return;
        }
        remember(sql);
        this.request?.abort();
        const request = new AbortController();
        this.request = request;
        setText(this.note, "Running…");
        try {
            this.answer = await postJson<Answer>("api/v1/sql", { sql }, request.signal);
            this.problem.set("");
            this.render(this.answer);
        } catch (error) {
            if (request.signal.aborted) {
                return;
            }
            this.answer = null;
            this.saveButton.disabled = true;
            setText(this.note, "");
            this.result.replaceChildren();
            this.problem.set(messageOf(error));
        }
    }

    private render({ columns, rows, row_count, elapsed_ms, truncated }: Answer): void {
        const shown = rows.slice(0, ROWS_SHOWN);
        this.saveButton.disabled = false;
        setText(this.note, `${integer(row_count)} rows in ${fixed(elapsed_ms, 1)} ms` +
            (truncated ? "; the server's limit cut the rest off" : "") +
            (rows.length > ROWS_SHOWN ? `; the first ${ROWS_SHOWN} are shown` : ""));
        const table = new KeyedTable<[number, unknown[]]>({
            caption: "Answer",
            key: ([i]) => String(i),
            empty: "No rows.",
            height: "sql-table",
            columns: columns.map(({ name, type }, i) => {
                const decimals = isFractional(type)
                    ? columnDecimals(shown.map((row) => row[i])) : 0;
                return {
                    label: name,
                    title: type,
                    numeric: /INT/.test(type) || isFractional(type),
                    tone: ([, row]) => (row[i] === null ? "faint" : ""),
                    text: ([, row]) => cellText(row[i], type, decimals),
                };
            }),
        });
        table.update(shown.map((row, i) => [i, row]));
        this.chart?.destroy();
        this.chart = null;
        this.result.replaceChildren(table.root);
        const plot = plotOfAnswer(columns, rows);
        if (plot) {
            this.chart = new Chart(plot.options);
            this.result.prepend(this.chart.root);
            this.chart.setData(plot.data);
        }
    }

    private save(): void {
        if (this.answer) {
            download("eider-query.csv", "text/csv",
                csv(this.answer.columns.map(({ name }) => name), this.answer.rows));
        }
    }
}
