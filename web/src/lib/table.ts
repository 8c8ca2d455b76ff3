// A table whose rows have keys and change in place, so that ten updates a second cost little and
// neither focus nor selection is lost.
import { h, setAttr, setClass, setText, uniqueId } from "./dom";

export interface TableColumn<Row> {
    label: string;
    numeric?: boolean;
    title?: string; // explains the heading
    text?: (row: Row) => string;
    tone?: (row: Row) => string; // class of the cell: "up", "down", ...
    update?: (cell: HTMLTableCellElement, row: Row) => void; // instead of text
    sort?: (row: Row) => number | string | null;
    heading?: boolean; // names the row
    hideNarrow?: boolean; // left out on small screens
}

export interface TableOptions<Row> {
    caption: string;
    columns: TableColumn<Row>[];
    key: (row: Row) => string;
    empty: string;
    sortBy?: number;
    sortDown?: boolean;
    height?: string; // a class that limits the height
}

interface Line<Row> {
    row: Row;
    element: HTMLTableRowElement;
    cells: HTMLTableCellElement[];
}

function cellClass<Row>(column: TableColumn<Row>, tone: string): string {
    return [column.numeric ? "num" : "", column.hideNarrow ? "wide-only" : "", tone]
        .filter(Boolean).join(" ");
}

export class KeyedTable<Row> {
    readonly root: HTMLElement;
    private readonly body = h("tbody");
    private readonly headings: HTMLTableCellElement[];
    private readonly emptyNote: HTMLElement;
    private readonly lines = new Map<string, Line<Row>>();
    private rows: Row[] = [];
    private order = "";
    private sortBy: number | null;
    private sortDown: boolean;

    constructor(private readonly options: TableOptions<Row>) {
        const id = uniqueId("table");
        this.sortBy = options.sortBy ?? null;
        this.sortDown = options.sortDown ?? false;
        this.headings = options.columns.map((column, i) => this.makeHeading(column, i));
        this.emptyNote = h("p", { class: "empty-note" }, options.empty);
        this.root = h("div", {
            class: `table-box ${options.height ?? ""}`, tabindex: 0, role: "region",
            "aria-labelledby": id,
        }, h("table", null,
            h("caption", { id, class: "visually-hidden" }, options.caption),
            h("thead", null, h("tr", null, this.headings)), this.body), this.emptyNote);
        this.showSort();
    }

    private makeHeading(column: TableColumn<Row>, index: number): HTMLTableCellElement {
        const cell = h("th", {
            scope: "col", class: cellClass(column, ""), title: column.title ?? null,
        });
        if (column.sort) {
            cell.append(h("button", {
                type: "button", class: "sort", onclick: () => this.sortOn(index),
            }, column.label, h("span", { class: "sort-mark", "aria-hidden": "true" })));
        } else {
            cell.append(column.label);
        }
        return cell;
    }

    private sortOn(index: number): void {
        this.sortDown = this.sortBy === index
            ? !this.sortDown : this.options.columns[index]?.numeric === true;
        this.sortBy = index;
        this.showSort();
        this.update(this.rows);
    }

    private showSort(): void {
        this.headings.forEach((cell, i) => {
            if (this.options.columns[i]?.sort) {
                setAttr(cell, "aria-sort",
                    i !== this.sortBy ? "none" : this.sortDown ? "descending" : "ascending");
            }
        });
    }

    private sorted(rows: Row[]): Row[] {
        const sort = this.sortBy === null ? null : this.options.columns[this.sortBy]?.sort;
        if (!sort) {
            return rows;
        }
        const sign = this.sortDown ? -1 : 1;
        return rows.map((row) => ({ row, by: sort(row) })).sort((a, b) => {
            if (a.by === null || b.by === null) {
                return a.by === b.by ? 0 : a.by === null ? 1 : -1; // absent ones last
            }
            return a.by < b.by ? -sign : a.by > b.by ? sign : 0;
        }).map(({ row }) => row);
    }

    /** Shows these rows, in their order or in that of the chosen column. */
    update(rows: Row[]): void {
        this.rows = rows;
        const keys: string[] = [];
        for (const row of this.sorted(rows)) {
            const key = this.options.key(row);
            keys.push(key);
            this.updateLine(key, row);
        }
        const order = keys.join("\n");
        if (order !== this.order) {
            this.order = order;
            this.arrange(keys);
        }
        this.emptyNote.hidden = rows.length > 0;
    }

    /** Brings the rows that are shown up to date, without looking at their order. */
    refresh(): void {
        for (const [key, line] of this.lines) {
            this.updateLine(key, line.row);
        }
    }

    rowElement(key: string): HTMLTableRowElement | null {
        return this.lines.get(key)?.element ?? null;
    }

    private updateLine(key: string, row: Row): void {
        let line = this.lines.get(key);
        if (!line) {
            const cells = this.options.columns.map((column) =>
                column.heading ? h("th", { scope: "row" }) : h("td"));
            line = { row, cells, element: h("tr", null, cells) };
            this.lines.set(key, line);
        }
        line.row = row;
        this.options.columns.forEach((column, i) => {
            const cell = line.cells[i];
            if (!cell) {
                return;
            }
            setClass(cell, cellClass(column, column.tone?.(row) ?? ""));
            if (column.update) {
                column.update(cell, row);
            } else {
                setText(cell, column.text?.(row) ?? "");
            }
        });
    }

    private arrange(keys: string[]): void {
        const wanted = new Set(keys);
        for (const [key, line] of this.lines) {
            if (!wanted.has(key)) {
                line.element.remove();
                this.lines.delete(key);
            }
        }
        keys.forEach((key, i) => {
            const element = this.lines.get(key)?.element;
            const there = this.body.children[i];
            if (element && there !== element) {
                this.body.insertBefore(element, there ?? null);
            }
        });
    }
}
