// What stands beside budgets and log: open reservations, prices in force, the chain's head.
import { getJson, messageOf } from "../lib/api";
import { h, setText, show } from "../lib/dom";
import { date, dateTime, integer, parseTime } from "../lib/format";
import { KeyedTable } from "../lib/table";
import { panel, problemLine, snippet } from "../lib/ui";
import {
    booksInForce, figure, list, object, priceBook, reservation, type PriceBook, type PriceRule,
    type Reservation,
} from "./shapes";
import { credits, until } from "./words";

export class ReservationsPanel {
    readonly root: HTMLElement;
    private readonly problem = problemLine();
    private readonly note = h("span", { class: "faint" });
    private readonly table = new KeyedTable<Reservation>({
        caption: "Open reservations, oldest first",
        key: (r) => r.id,
        empty: "Nothing is reserved.",
        height: "aside-table",
        columns: [
            { label: "API", heading: true, text: (r) => r.api },
            { label: "Endpoint", tone: () => "name-cell", text: (r) => r.endpoint },
            { label: "Run", hideNarrow: true, tone: () => "name-cell", text: (r) => r.run },
            { label: "Credits", numeric: true, text: (r) => credits(r.credits) },
            {
                label: "Lease ends in", numeric: true, text: (r) => until(r.expiresAt, Date.now()),
                title: "Then the credits are free again",
            },
        ],
    });

    constructor() {
        this.root = panel("Open reservations", "reservations", [this.note], this.problem.root,
            this.table.root);
    }

    async load(): Promise<void> {
        try {
            const answer = object(await getJson<unknown>("api/v1/spend/reservations?limit=100"));
            const open = list(answer["reservations"]).map(reservation);
            const sum = open.reduce((a, r) => a + (r.credits ?? 0), 0);
            setText(this.note, open.length === 0 ? ""
                : `${open.length === 100 ? "the oldest 100" : integer(open.length)}, ` +
                    `${credits(Math.round(sum * 1e6) / 1e6)} credits`);
            this.table.update(open);
            this.problem.set("");
        } catch (error) {
            this.problem.set(`Reservations are not known: ${messageOf(error)}`);
        }
    }

    /** Brings the time that is left up to now. */
    draw(): void {
        this.table.refresh();
    }
}

export class PricesPanel {
    readonly root: HTMLElement;
    private readonly problem = problemLine();
    private readonly place = h("div", { class: "books" });
    private shown = "";

    constructor() {
        this.root = panel("Prices in force", "prices", [], this.problem.root, this.place);
    }

    async load(): Promise<void> {
        try {
            const answer = object(await getJson<unknown>("api/v1/spend/prices"));
            const text = JSON.stringify(answer);
            if (text !== this.shown) {
                this.shown = text;
                const books = booksInForce(list(answer["books"]).map(priceBook), Date.now());
                this.place.replaceChildren(...(books.length > 0 ? books.map((b) => this.book(b))
                    : [h("p", { class: "empty-note" },
                        "No price book: callers say what a call may cost.")]));
            }
            this.problem.set("");
        } catch (error) {
            this.problem.set(`Prices are not known: ${messageOf(error)}`);
        }
    }

    private book(book: PriceBook): HTMLElement {
        const table = new KeyedTable<PriceRule>({
            caption: `Rules of ${book.name}; the first that fits counts`,
            key: (r) => r.name,
            empty: "No rule.",
            height: "aside-table",
            columns: [
                { label: "Rule", heading: true, text: (r) => r.name },
                {
                    label: "Call", tone: () => "wrap-cell",
                    text: (r) => (r.when ? `${r.match}, ${r.when}` : r.match),
                },
                {
                    label: "Credits", numeric: true,
                    text: (r) => (figure(r.credits) === null ? r.credits
                        : credits(figure(r.credits))) +
                        (r.max === null ? "" : ` (at most ${credits(r.max)})`),
                },
                {
                    label: "Failed", numeric: true, hideNarrow: true,
                    title: "What a call without success costs",
                    text: (r) => (figure(r.onFailure) === null ? r.onFailure
                        : credits(figure(r.onFailure))),
                },
            ],
        });
        table.update(book.rules);
        const about = [`version ${book.version}`, book.api ? `API ${book.api}` : "",
            book.from === null ? "" : `since ${date(book.from)}`];
        return h("div", { class: "book" }, h("h3", null, book.name, " ",
            h("span", { class: "faint" }, about.filter(Boolean).join(" · "))), table.root);
    }
}

export class ChainPanel {
    readonly root: HTMLElement;
    private readonly problem = problemLine();
    private readonly seq = h("dd");
    private readonly at = h("dd");
    private readonly hash = h("p", { class: "hash mono" });
    private readonly none = h("p", { class: "empty-note" }, "The log is empty.");
    private readonly facts: HTMLElement;

    constructor() {
        this.facts = h("div", { class: "chain" },
            h("dl", { class: "facts" }, h("div", null, h("dt", null, "Entries"), this.seq),
                h("div", null, h("dt", null, "Written (UTC)"), this.at)),
            h("h3", null, "Hash of the last entry"), this.hash,
            h("p", { class: "hint" }, "Keep it elsewhere: who knows it can prove that no entry " +
                "before it was changed. This checks the whole log:"),
            snippet("eider eventlog verify"));
        this.root = panel("Chain's head", "chain", [], this.problem.root, this.none, this.facts);
    }

    async load(): Promise<void> {
        try {
            const head = object(await getJson<unknown>("api/v1/events/head"));
            const seq = figure(head["seq"]) ?? 0;
            show(this.none, seq === 0);
            show(this.facts, seq > 0);
            setText(this.seq, integer(seq));
            setText(this.at, dateTime(parseTime(head["at"])));
            setText(this.hash, String(head["hash"] ?? "–"));
            this.problem.set("");
        } catch (error) {
            this.problem.set(`The chain's head is not known: ${messageOf(error)}`);
        }
    }
}
