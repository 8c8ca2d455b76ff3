// "Try it": a form made from an operation, its request sent to this very server, and the same
// request as a curl command.
import { address, messageOf, request } from "../lib/api";
import { getToken } from "../lib/auth";
import { h, setText } from "../lib/dom";
import { field, problemLine, select, snippet } from "../lib/ui";
import {
    exampleOf, exampleText, mediaExample, refName, resolve, type Document, type Operation,
    type Schema,
} from "./openapi";

const SHOWN_MAX = 200000;

interface Request {
    path: string;
    init: RequestInit & { headers: Record<string, string> };
}

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** The request as a command for a shell; the token stands for itself. */
export function curlOf({ path, init }: Request): string {
    const parts = [`curl ${quote(address(path).href)}`];
    if (init.method !== "GET") {
        parts.push(`-X ${init.method}`);
    }
    for (const [name, value] of Object.entries(init.headers)) {
        parts.push(`-H ${quote(`${name}: ${value}`)}`);
    }
    if (getToken()) {
        parts.push('-H "Authorization: Bearer $EIDER_TOKEN"');
    }
    if (typeof init.body === "string" && init.body !== "") {
        parts.push(`--data-binary ${quote(init.body)}`);
    }
    return parts.join(" \\\n  ");
}

function pretty(text: string): string {
    try {
        return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
        return text;
    }
}

export class TryIt {
    readonly root: HTMLElement;
    private readonly inputs: { input: HTMLInputElement; name: string; place: string }[] = [];
    private body: HTMLTextAreaElement | null = null;
    private media: HTMLSelectElement | null = null;
    private readonly send = h("button", { type: "submit", class: "button primary" }, "Send");
    private readonly problem = problemLine();
    private readonly status = h("p", { class: "result-note", role: "status" });
    private readonly output = h("pre", { class: "answer", tabindex: 0, hidden: true });
    private readonly command = h("div");

    constructor(
        private readonly document: Document,
        private readonly operation: Operation,
    ) {
        const form = h("form", { class: "try-form" }, this.parameterFields(), this.bodyFields(),
            h("div", { class: "form-row" }, this.send));
        form.addEventListener("submit", (event) => {
            event.preventDefault();
            void this.run();
        });
        form.addEventListener("input", () => this.showCommand());
        this.root = h("div", { class: "try" }, form, this.command, this.problem.root, this.status,
            this.output);
        this.showCommand();
    }

    private parameterFields(): HTMLElement[] {
        return this.operation.parameters.map((parameter) => {
            const input = h("input", {
                type: "text", autocomplete: "off", spellcheck: "false",
                required: parameter.in === "path" || parameter.required === true,
                value: parameter.example === undefined ? null : String(parameter.example),
            });
            this.inputs.push({ input, name: parameter.name, place: parameter.in });
            return field(`${parameter.name} (${parameter.in})`, input);
        });
    }

    private bodyFields(): HTMLElement[] {
        const content = Object.entries(this.operation.requestBody?.content ?? {});
        const [first] = content;
        if (!first) {
            return [];
        }
        const text = h("textarea", { class: "mono", spellcheck: "false", rows: 8 });
        this.body = text;
        text.value = exampleText(mediaExample(this.document, first[1]));
        text.rows = Math.min(16, text.value.split("\n").length + 1);
        const media = select(content.map(([type]) => [type, type]), first[0]);
        this.media = media;
        media.addEventListener("change", () => {
            const chosen = this.operation.requestBody?.content?.[media.value];
            text.value = chosen ? exampleText(mediaExample(this.document, chosen)) : "";
        });
        const schema = first[1].schema && resolve(this.document, first[1].schema);
        return [
            ...(content.length > 1 ? [field("Content type", media)] : []),
            ...this.alternatives(schema?.oneOf ?? []),
            field(`Body (${first[0]})`, text),
        ];
    }

    /** A body that may be one of several named shapes: a choice of them. */
    private alternatives(shapes: Schema[]): HTMLElement[] {
        const names = shapes.map(refName).filter(Boolean);
        if (names.length < 2) {
            return [];
        }
        const choice = select(names.map((name) => [name, name]), names[0] ?? "");
        const places = this.inputs.filter(({ place }) => place === "path");
        const choose = () => {
            const shape = shapes.find((one) => refName(one) === choice.value);
            if (this.body) {
                this.body.value = exampleText(exampleOf(this.document, shape));
                this.body.rows = Math.min(16, this.body.value.split("\n").length + 1);
            }
            if (places.length === 1 && places[0]) {
                places[0].input.value = choice.value; // the path names the shape
            }
        };
        choice.addEventListener("change", choose);
        choose();
        return [field("Shape", choice)];
    }

    private request(): Request {
        let path = this.operation.path;
        const query = new URLSearchParams();
        const headers: Record<string, string> = {};
        for (const { input, name, place } of this.inputs) {
            const value = input.value.trim();
            if (place === "path") {
                path = path.replace(`{${name}}`, value ? encodeURIComponent(value) : `{${name}}`);
            } else if (value && place === "query") {
                query.append(name, value);
            } else if (value && place === "header") {
                headers[name] = value;
            }
        }
        const init: Request["init"] = { method: this.operation.method, headers };
        if (this.body) {
            headers["Content-Type"] = this.media?.value ?? "application/json";
            init.body = this.body.value;
        }
        const search = query.toString();
        return { path: search ? `${path}?${search}` : path, init };
    }

    private showCommand(): void {
        this.command.replaceChildren(snippet(curlOf(this.request())));
    }

    private async run(): Promise<void> {
        const { path, init } = this.request();
        const start = performance.now();
        this.send.disabled = true;
        this.problem.set("");
        setText(this.status, "Sending…");
        try {
            const response = await request(path, init);
            const text = await response.text();
            const ms = performance.now() - start;
            const type = response.headers.get("Content-Type") ?? "no content";
            setText(this.status,
                `${response.status} ${response.statusText} · ${ms.toFixed(0)} ms · ${type}`);
            this.status.className = `result-note ${response.ok ? "ok" : "bad"}`;
            setText(this.output, pretty(text).slice(0, SHOWN_MAX));
            this.output.hidden = text === "";
        } catch (error) {
            setText(this.status, "");
            this.problem.set(messageOf(error));
        } finally {
            this.send.disabled = false;
        }
    }
}
