// History: a span of time and a kind of data, as charts, table and CSV file.
import { messageOf, postJson } from "../lib/api";
import { Chart } from "../lib/chart";
import { download, h, setText, show } from "../lib/dom";
import { columnDecimals, csv, dateTime, fixed, integer, parseTime } from "../lib/format";
import { KeyedTable } from "../lib/table";
import { field, panel, problemLine, segmented, select, type View } from "../lib/ui";
import type { LiveStore } from "../live/store";
import { historyTypes, type Row } from "./plots";
import { symbolInput } from "./trades";

const ROWS_SHOWN = 200;

interface Answer {
    start_time: string;
    end_time: string;
    interval: string;
    data: Row[];
    count: number;
}

/** Interval that gives some hundreds of points for a range. */
const intervalFor: Record<string, string> = { "1h": "1m", "24h": "5m", "7d": "1h", "30d": "1h" };

function columnsOf(rows: Row[]): string[] {
    const names = new Set<string>();
    for (const row of rows.slice(0, 1000)) {
        for (const name of Object.keys(row)) {
            names.add(name);
        }
    }
    names.delete("type");
    return [...names];
}

function cellText(value: unknown, decimals: number): string {
    if (typeof value === "number") {
        return fixed(value, decimals);
    }
    return value === null || value === undefined ? "" : String(value);
}

/** The format of a column: whole numbers stay whole, others share their decimals. */
function decimalsOf(values: unknown[]): number {
    return values.every((v) => typeof v !== "number" || Number.isInteger(v))
        ? 0 : columnDecimals(values);
}

export class HistoryView implements View {
    readonly id = "history";
    readonly label = "History";
    readonly root: HTMLElement;
    private range = "1h";
    private started = false;
    private request: AbortController | null = null;
    private rows: Row[] = [];
    private drawn: Chart[] = [];
    private readonly kind = select(
        Object.entries(historyTypes).map(([id, type]) => [id, type.label]), "market_data");
    private readonly symbol: ReturnType<typeof symbolInput>;
    private readonly interval = select(
        [["1m", "1 minute"], ["5m", "5 minutes"], ["15m", "15 minutes"], ["1h", "1 hour"],
            ["1d", "1 day"]], "1m");
    private readonly from = h("input", { type: "datetime-local", step: 1 });
    private readonly to = h("input", { type: "datetime-local", step: 1 });
    private readonly span = h("div", { class: "form-row" }, field("From (UTC)", this.from),
        field("To (UTC)", this.to));
    private readonly marketOnly: HTMLElement[];
    private readonly problem = problemLine();
    private readonly note = h("p", { class: "result-note", role: "status" });
    private readonly saveButton = h("button", {
        type: "button", class: "button", disabled: true, onclick: () => this.save(),
    }, "Download CSV");
    private readonly charts = h("div", { class: "history-charts" });
    private readonly tablePlace = h("div");

    constructor(store: LiveStore) {
        this.symbol = symbolInput(store, "All symbols");
        this.marketOnly = [
            field("Symbol", this.symbol.input), this.symbol, field("Interval", this.interval),
        ];
        const form = h("form", { class: "history-form" },
            h("div", { class: "form-row" }, field("Data", this.kind), ...this.marketOnly),
            h("div", { class: "form-row" },
                segmented("Range", [["1h", "1 h"], ["24h", "24 h"], ["7d", "7 d"], ["30d", "30 d"],
                    ["", "From – to"]], "1h", (value) => this.onRange(value)),
                this.span,
                h("button", { type: "submit", class: "button primary" }, "Show"),
                this.saveButton));
        form.addEventListener("submit", (event) => {
            event.preventDefault();
            void this.load();
        });
        this.kind.addEventListener("change", () => this.onKind());
        this.interval.addEventListener("change", () => void this.load());
        this.symbol.input.addEventListener("change", () => void this.load());
        show(this.span, false);
        this.root = panel("History", "history", [], form, this.problem.root, this.note, this.charts,
            this.tablePlace);
    }

    show(): void {
        if (!this.started) {
            this.started = true;
            void this.load();
        }
    }

    hide(): void {}

    private onKind(): void {
        for (const element of this.marketOnly) {
            show(element, this.kind.value === "market_data");
        }
        void this.load();
    }

    private onRange(value: string): void {
        this.range = value;
        show(this.span, value === "");
        if (value === "") {
            if (!this.from.value) {
                const now = Date.now();
                this.from.value = new Date(now - 3600000).toISOString().slice(0, 19);
                this.to.value = new Date(now).toISOString().slice(0, 19);
            }
            return;
        }
        this.interval.value = intervalFor[value] ?? "5m";
        void this.load();
    }

    private question(): Record<string, unknown> {
        const symbol = this.symbol.input.value.trim();
        const isMarket = this.kind.value === "market_data";
        return {
            metric_types: [this.kind.value],
            interval: this.interval.value,
            ...(isMarket && symbol ? { symbols: [symbol] } : {}),
            ...(this.range
                ? { time_range: this.range }
                : { start_time: `${this.from.value}Z`, end_time: `${this.to.value}Z` }),
        };
    }

    private async load(): Promise<void> {
        this.request?.abort();
        const request = new AbortController();
        this.request = request;
        if (!this.range && !(this.from.value && this.to.value)) {
            this.problem.set("Choose both times.");
            return;
        }
        this.root.setAttribute("aria-busy", "true");
        try {
            const answer = await postJson<Answer>("api/metrics/history", this.question(),
                request.signal);
            this.problem.set("");
            this.render(answer);
        } catch (error) {
            if (request.signal.aborted) {
                return; // a newer question is under way
            }
            this.problem.set(`No history: ${messageOf(error)}`);
        }
        this.root.removeAttribute("aria-busy");
    }

    private render(answer: Answer): void {
        this.rows = answer.data;
        this.saveButton.disabled = this.rows.length === 0;
        const span = `${dateTime(parseTime(answer.start_time))} to ` +
            `${dateTime(parseTime(answer.end_time))} UTC`;
        setText(this.note, this.rows.length > 0
            ? `${integer(answer.count)} rows, ${span}. ` +
                "Drag in a chart to zoom, double-click for all."
            : `Nothing is stored for ${span}.`);
        const plots = this.rows.length > 0
            ? historyTypes[this.kind.value]?.plots(this.rows) ?? [] : [];
        for (const chart of this.drawn) {
            chart.destroy();
        }
        this.drawn = plots.map(({ options }) => new Chart(options));
        this.charts.replaceChildren(...plots.map(({ title }, i) =>
            h("div", { class: "plot" }, h("h3", null, title), this.drawn[i]?.root)));
        plots.forEach(({ data }, i) => this.drawn[i]?.setData(data));
        this.renderTable();
    }

    private renderTable(): void {
        this.tablePlace.replaceChildren();
        if (this.rows.length === 0) {
            return;
        }
        const shown = this.rows.slice(0, ROWS_SHOWN);
        const table = new KeyedTable<[number, Row]>({
            caption: "Rows of the history, newest first",
            key: ([i]) => String(i),
            empty: "",
            height: "history-table",
            columns: columnsOf(this.rows).map((name) => {
                const values = shown.map((row) => row[name]);
                const decimals = decimalsOf(values);
                return {
                    label: name,
                    numeric: values.some((value) => typeof value === "number"),
                    text: ([, row]) => name === "timestamp"
                        ? dateTime(parseTime(row[name])) : cellText(row[name], decimals),
                };
            }),
        });
        table.update(shown.map((row, i) => [i, row]));
        this.tablePlace.append(table.root);
        if (this.rows.length > ROWS_SHOWN) {
            this.tablePlace.append(h("p", { class: "hint" },
                `The first ${ROWS_SHOWN} of ${integer(this.rows.length)} rows; the file has all.`));
        }
    }

    private save(): void {
        const names = columnsOf(this.rows);
        download(`eider-${this.kind.value}.csv`, "text/csv",
            csv(names, this.rows.map((row) => names.map((name) => row[name]))));
    }
}
