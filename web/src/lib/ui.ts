// Small pieces that several views are made of.
import { address } from "./api";
import { getToken, TOKEN_EVENT } from "./auth";
import { h, setClass, setText, uniqueId, type Child } from "./dom";

export interface View {
    id: string;
    label: string;
    root: HTMLElement;
    show(): void;
    hide(): void;
}

/** A titled box; `side` stands at the right of the title. */
export function panel(title: string, name: string, side: Child[], ...body: Child[]): HTMLElement {
    const id = uniqueId("panel");
    return h("section", { class: `panel panel-${name}`, "aria-labelledby": id },
        h("header", { class: "panel-head" }, h("h2", { id }, title),
            h("div", { class: "panel-side" }, side)),
        ...body);
}

/** A labelled figure. */
export class Stat {
    readonly root: HTMLElement;
    private readonly value = h("span", { class: "stat-value" });

    constructor(label: string, options: { swatch?: string; title?: string; big?: boolean } = {}) {
        const swatch = options.swatch ? h("span", { class: "swatch" }) : null;
        swatch?.style.setProperty("--swatch", `var(--${options.swatch})`);
        this.root = h("div", {
            class: options.big ? "stat big" : "stat", title: options.title ?? null,
        }, h("span", { class: "stat-label" }, swatch, label), this.value);
    }

    set(text: string, tone = ""): void {
        setText(this.value, text);
        setClass(this.value, tone ? `stat-value ${tone}` : "stat-value");
    }
}

export function stats(...items: Stat[]): HTMLElement {
    return h("div", { class: "stats" }, items.map((item) => item.root));
}

/** A choice of one among few, as radio buttons in one row. */
export function segmented(
    legend: string,
    choices: [value: string, label: string][],
    selected: string,
    onChange: (value: string) => void,
): HTMLElement {
    const name = uniqueId("choice");
    return h("fieldset", { class: "segmented" },
        h("legend", { class: "visually-hidden" }, legend),
        choices.map(([value, label]) => h("label", null,
            h("input", {
                type: "radio", name, value, checked: value === selected,
                onchange: () => onChange(value),
            }),
            h("span", null, label))));
}

export function field(label: string, control: HTMLElement, hint?: string): HTMLElement {
    control.id ||= uniqueId("field");
    return h("div", { class: "field" }, h("label", { for: control.id }, label), control,
        hint ? h("span", { class: "hint" }, hint) : null);
}

export function select(
    choices: [value: string, label: string][],
    value: string,
): HTMLSelectElement {
    return h("select", null,
        choices.map(([v, label]) => h("option", { value: v, selected: v === value }, label)));
}

/** Tone of a gain or loss; the sign says the same without colour. */
export function tone(value: number | null): string {
    return value === null || value === 0 ? "" : value > 0 ? "up" : "down";
}

export function arrow(value: number | null): string {
    return value === null || value === 0 ? "" : value > 0 ? "▲ " : "▼ ";
}

async function copyText(source: HTMLElement): Promise<void> {
    const text = source.textContent ?? "";
    try {
        await navigator.clipboard.writeText(text);
    } catch {
        // Without TLS browsers offer no clipboard; then the text is selected for the reader.
        const selection = getSelection();
        selection?.selectAllChildren(source);
    }
}

/** A command to be copied. */
export function snippet(text: string): HTMLElement {
    const code = h("code", null, text);
    const button = h("button", { type: "button", class: "button small copy" }, "Copy");
    button.addEventListener("click", () => {
        void copyText(code).then(() => {
            setText(button, "Copied");
            setTimeout(() => setText(button, "Copy"), 1500);
        });
    });
    return h("div", { class: "snippet" }, h("pre", { tabindex: 0 }, code), button);
}

/** The command that writes a row, for the reader's shell. */
export function ingestCommand(table: string, row: Record<string, unknown>): string {
    const token = getToken() ? ` \\\n  -H "Authorization: Bearer $EIDER_TOKEN"` : "";
    return `curl '${address(`api/v1/ingest/${table}`)}' \\\n` +
        `  -H 'Content-Type: application/json'${token} \\\n  -d '${JSON.stringify(row)}'`;
}

/** What a panel shows before there is anything to show: how to make something. */
export function emptyState(
    title: string,
    table: string,
    row: Record<string, unknown>,
): HTMLElement {
    const place = h("div", null, snippet(ingestCommand(table, row)));
    addEventListener(TOKEN_EVENT, () =>
        place.replaceChildren(snippet(ingestCommand(table, row))));
    return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title),
        h("p", null, "Write a row from your program, or paste this into a terminal:"), place);
}

/** A place for a failure; empty text hides it. Announced when it changes. */
export function problemLine(): { root: HTMLElement; set(text: string): void } {
    const root = h("p", { class: "problem", role: "alert", hidden: true });
    return {
        root,
        set(text: string) {
            setText(root, text);
            root.hidden = text === "";
        },
    };
}
