// The event log: newest first, in pages by cursor, with filters.
import { getJson, messageOf } from "../lib/api";
import { h, setClass, setText, show, uniqueId } from "../lib/dom";
import { clockMillis, date, fixed, integer } from "../lib/format";
import { KeyedTable } from "../lib/table";
import { field, panel, problemLine, select } from "../lib/ui";
import { showEvent } from "./details";
import { figure, list, object, spendEvent, type SpendEvent } from "./shapes";
import { credits } from "./words";

const PAGE = 50;

/** A text field with suggestions. */
class Suggesting {
    readonly list = h("datalist", { id: uniqueId("suggestions") });
    readonly input: HTMLInputElement;
    readonly field: HTMLElement;

    constructor(label: string, placeholder: string, private readonly offers: () => string[]) {
        this.input = h("input", {
            type: "text", list: this.list.id, placeholder, autocomplete: "off",
            spellcheck: "false",
        });
        this.input.addEventListener("focus", () => this.list.replaceChildren(
            ...this.offers().map((value) => h("option", { value }))));
        this.field = field(label, this.input);
        this.field.append(this.list);
    }

    get value(): string {
        return this.input.value.trim();
    }
}

export class LogPanel {
    readonly root: HTMLElement;
    private readonly seen = { api: new Set<string>(), endpoint: new Set<string>(),
        run: new Set<string>() };
    private readonly api = new Suggesting("API", "All", () => [...this.seen.api].sort());
    private readonly endpoint = new Suggesting("Endpoint", "All",
        () => [...this.seen.endpoint].sort().slice(0, 200));
    private readonly run = new Suggesting("Run", "All",
        () => [...this.seen.run].sort().slice(0, 200));
    private readonly status = new Suggesting("Status", "200, 5xx, null",
        () => ["2xx", "4xx", "5xx", "200", "429", "500", "null"]);
    private readonly success = select(
        [["", "Any"], ["true", "Succeeded"], ["false", "Failed"]], "");
    private readonly from = h("input", { type: "datetime-local", step: 1 });
    private readonly to = h("input", { type: "datetime-local", step: 1 });
    private readonly clear = h("button", { type: "button", class: "button" }, "Clear");
    private readonly newer = h("button", { type: "button", class: "button" }, "Newer");
    private readonly older = h("button", { type: "button", class: "button" }, "Older");
    private readonly position = h("span", { class: "position", role: "status" });
    private readonly problem = problemLine();
    private cursors: string[] = []; // of the pages behind us; the last is this page's
    private next: string | null = null;
    private asked = 0;
    private readonly table = new KeyedTable<SpendEvent>({
        caption: "Event log, newest first",
        key: (e) => e.id,
        empty: "No entry matches.",
        height: "event-table",
        columns: [
            { label: "Date", hideNarrow: true, text: (e) => date(e.time) },
            { label: "Time (UTC)", heading: true, update: (cell, e) => this.timeCell(cell, e) },
            { label: "API", hideNarrow: true, text: (e) => e.api },
            { label: "Endpoint", tone: () => "name-cell", text: (e) => e.endpoint },
            {
                label: "Status", numeric: true, text: (e) => (e.status === null
                    ? "none" : String(e.status)), tone: (e) => (e.success ? "" : "bad"),
            },
            {
                label: "Success", hideNarrow: true, text: (e) => (e.success ? "yes" : "✕ no"),
                tone: (e) => (e.success ? "" : "bad"),
            },
            { label: "Latency, ms", numeric: true, hideNarrow: true,
                text: (e) => fixed(e.latency, 1) },
            { label: "Credits", numeric: true, text: (e) => credits(e.credits) },
            { label: "Run", tone: () => "name-cell", hideNarrow: true, text: (e) => e.run },
        ],
    });

    constructor(private readonly onLoaded: (count: number, isFiltered: boolean) => void) {
        const form = h("form", { class: "form-row log-filters", role: "search" },
            this.api.field, this.endpoint.field, this.run.field, this.status.field,
            field("Success", this.success), field("From (UTC)", this.from),
            field("To (UTC)", this.to),
            h("button", { type: "submit", class: "button primary" }, "Apply"), this.clear);
        form.addEventListener("submit", (event) => {
            event.preventDefault();
            this.begin();
        });
        for (const control of [this.api.input, this.endpoint.input, this.run.input,
            this.status.input, this.success, this.from, this.to]) {
            control.addEventListener("change", () => this.begin());
        }
        this.clear.addEventListener("click", () => {
            form.reset();
            this.begin();
        });
        this.newer.addEventListener("click", () => {
            this.cursors.pop();
            void this.load();
        });
        this.older.addEventListener("click", () => {
            if (this.next) {
                this.cursors.push(this.next);
                void this.load();
            }
        });
        this.root = panel("Event log", "events", [], form, this.problem.root, this.table.root,
            h("div", { class: "pager" }, this.newer, this.position, this.older));
    }

    /** Whether new entries belong at the top of what is shown. */
    get isAtTop(): boolean {
        return this.cursors.length === 0;
    }

    private begin(): void {
        this.cursors = [];
        void this.load();
    }

    private filters(): URLSearchParams {
        const query = new URLSearchParams();
        const time = (value: string) => (value ? `${value}Z` : "");
        const wanted: Record<string, string> = {
            api_name: this.api.value, endpoint: this.endpoint.value, run_id: this.run.value,
            status: this.status.value, success: this.success.value, from: time(this.from.value),
            to: time(this.to.value),
        };
        for (const [name, value] of Object.entries(wanted)) {
            if (value) {
                query.set(name, value);
            }
        }
        return query;
    }

    async load(): Promise<void> {
        const asked = ++this.asked;
        const query = this.filters();
        const isFiltered = query.size > 0;
        const cursor = this.cursors.at(-1);
        query.set("limit", String(PAGE));
        if (cursor) {
            query.set("cursor", cursor);
        }
        try {
            const answer = object(await getJson<unknown>(`api/v1/events?${query}`));
            if (asked !== this.asked) {
                return; // a newer question is under way
            }
            const events = list(answer["events"]).map(spendEvent);
            const next = answer["next_cursor"];
            this.next = typeof next === "string" && next !== "" ? next
                : figure(next) ? String(next) : null;
            this.remember(events);
            this.table.update(events);
            this.problem.set("");
            this.renderPosition(events.length, isFiltered);
            if (this.cursors.length === 0) {
                this.onLoaded(events.length, isFiltered);
            }
        } catch (error) {
            if (asked === this.asked) {
                this.problem.set(`The event log cannot be shown: ${messageOf(error)}`);
            }
        }
    }

    private remember(events: SpendEvent[]): void {
        for (const event of events) {
            this.seen.api.add(event.api);
            this.seen.endpoint.add(event.endpoint);
            if (event.run) {
                this.seen.run.add(event.run);
            }
        }
        for (const names of Object.values(this.seen)) {
            if (names.size > 2000) {
                names.clear();
            }
        }
    }

    private renderPosition(shown: number, isFiltered: boolean): void {
        const first = this.cursors.length * PAGE + 1;
        setText(this.position, shown === 0 ? "none"
            : `${integer(first)}–${integer(first + shown - 1)}${this.next ? " and more" : ""}`);
        this.newer.disabled = this.cursors.length === 0;
        this.older.disabled = this.next === null;
        show(this.clear, isFiltered);
    }

    private timeCell(cell: HTMLTableCellElement, event: SpendEvent): void {
        let button = cell.querySelector("button");
        if (!button) {
            button = h("button", { type: "button", class: "link" });
            const opener = button;
            opener.addEventListener("click", () => {
                void showEvent(opener.dataset["id"] ?? "").then(() => opener.focus());
            });
            cell.append(button);
        }
        button.dataset["id"] = event.id;
        setText(button, clockMillis(event.time));
        button.title = `Details of ${event.id}`;
        setClass(cell, "mono-time");
    }
}
