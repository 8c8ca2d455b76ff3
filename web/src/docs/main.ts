// The API reference, made in the browser from this server's own /openapi.json.
import "../../styles/base.css";
import "../../styles/parts.css";
import "../../styles/docs.css";
import { logo, themeButton } from "../header";
import { getJson, messageOf } from "../lib/api";
import { h, show, type Child } from "../lib/dom";
import { startTheme } from "../lib/theme";
import { snippet } from "../lib/ui";
import {
    exampleText, groupsOf, mediaExample, operationsOf, propertiesOf, refName, resolve, typeName,
    type Content, type Document, type Operation, type Parameter, type Schema,
} from "./openapi";
import { TryIt } from "./try";

const slug = (name: string) => name.replace(/[^A-Za-z0-9_]+/g, "-").toLowerCase();

/** Prose: `code` in backticks, everything else as it stands. */
function prose(text: string | undefined): Child[] {
    return (text ?? "").split(/(`[^`]+`)/).map((part) =>
        part.startsWith("`") && part.length > 2 ? h("code", null, part.slice(1, -1)) : part);
}

function schemaLink(document: Document, schema: Schema | undefined): Child[] {
    const name = refName(schema) || refName(schema?.items);
    const text = typeName(document, schema);
    return name ? [h("a", { href: `#schema-${slug(name)}` }, text)] : [text];
}

function details(schema: Schema): string {
    const parts = [
        schema.enum ? `one of ${schema.enum.map(String).join(", ")}` : "",
        schema.default !== undefined ? `default ${String(schema.default)}` : "",
        schema.minimum !== undefined ? `at least ${schema.minimum}` : "",
        schema.maximum !== undefined ? `at most ${schema.maximum}` : "",
        schema["x-unit"] ? `in ${schema["x-unit"]}` : "",
    ];
    return parts.filter(Boolean).join("; ");
}

function table(head: string[], rows: Child[][][]): HTMLElement {
    const box = { class: "table-box", tabindex: 0, role: "region", "aria-label": head[0] ?? "" };
    return h("div", box,
        h("table", null,
            h("thead", null, h("tr", null, head.map((label) => h("th", { scope: "col" }, label)))),
            h("tbody", null, rows.map((cells) => h("tr", null,
                cells.map((cell, i) =>
                    (i === 0 ? h("th", { scope: "row" }, cell) : h("td", null, cell))))))));
}

function parameterTable(document: Document, parameters: Parameter[]): HTMLElement {
    return table(["Parameter", "In", "Type", "Meaning"], parameters.map((p) => [
        [h("code", null, p.name), p.required ? h("span", { class: "required" }, "required") : null],
        [p.in],
        [typeName(document, p.schema)],
        [...prose(p.description), p.schema && details(p.schema) ? ` (${details(p.schema)})` : null],
    ]));
}

function propertyTable(document: Document, schema: Schema): HTMLElement | null {
    const properties = propertiesOf(document, schema);
    return properties.length === 0 ? null : table(["Field", "Type", "Meaning"],
        properties.map(([name, value, required]) => [
            [h("code", null, name), required ? h("span", { class: "required" }, "required") : null],
            schemaLink(document, value),
            [...prose(value.description), details(resolve(document, value))
                ? ` (${details(resolve(document, value))})` : null],
        ]));
}

function contentBlock(document: Document, content: Content): Child[] {
    return Object.entries(content.content ?? {}).map(([type, media]) =>
        h("div", { class: "media" },
            h("p", null, h("code", null, type), " ", schemaLink(document, media.schema)),
            h("details", null, h("summary", null, "Example"),
                snippet(exampleText(mediaExample(document, media))))));
}

function responses(document: Document, operation: Operation): HTMLElement {
    return h("div", { class: "responses" },
        Object.entries(operation.responses ?? {}).map(([status, content]) => {
            const answer = resolve(document, content as Content & { $ref?: string });
            return h("div", { class: "response" },
                h("p", null, h("span", { class: "status-code" }, status), " ",
                    prose(answer.description)),
                contentBlock(document, answer));
        }));
}

function operationCard(document: Document, operation: Operation): HTMLElement {
    const body = operation.requestBody
        ? resolve(document, operation.requestBody as Content & { $ref?: string }) : null;
    const tryPlace = h("div");
    const isStream = operation.path.startsWith("/ws/");
    const tryButton = h("button", { type: "button", class: "button", "aria-expanded": "false" },
        "Try it");
    let opened: TryIt | null = null;
    tryButton.addEventListener("click", () => {
        opened ??= new TryIt(document, { ...operation, ...(body ? { requestBody: body } : {}) });
        const isOpen = tryPlace.childElementCount > 0;
        tryPlace.replaceChildren(...(isOpen ? [] : [opened.root]));
        tryButton.setAttribute("aria-expanded", String(!isOpen));
    });
    const titleId = `${operation.id}-h`;
    return h("article", { class: "operation", id: operation.id, "aria-labelledby": titleId },
        h("header", null,
            h("h3", { id: titleId },
                h("span", { class: `method ${operation.method.toLowerCase()}` }, operation.method),
                " ", h("code", { class: "path" }, operation.path)),
            isStream ? null : tryButton),
        h("p", { class: "summary" }, prose(operation.summary)),
        operation.description ? h("p", null, prose(operation.description)) : null,
        operation.parameters.length > 0 ? parameterTable(document, operation.parameters) : null,
        body ? [h("h4", null, "Body"), ...contentBlock(document, body)] : [],
        tryPlace,
        h("h4", null, "Answers"), responses(document, operation));
}

function schemaCard(document: Document, name: string, schema: Schema): HTMLElement {
    const alternatives = schema.oneOf ?? schema.anyOf;
    return h("article", { class: "schema-card", id: `schema-${slug(name)}` },
        h("h3", null, h("code", null, name)),
        schema.description ? h("p", null, prose(schema.description)) : null,
        alternatives ? h("p", null, "One of: ", alternatives.flatMap((one, i): Child[] =>
            [i > 0 ? ", " : null, ...schemaLink(document, one)])) : null,
        propertyTable(document, schema) ??
            (alternatives ? null : h("p", { class: "hint" }, typeName(document, schema))));
}

function sidebar(document: Document, groups: [string, Operation[]][]): HTMLElement {
    const search = h("input", {
        type: "search", placeholder: "Find a path", "aria-label": "Find a path",
        autocomplete: "off", spellcheck: "false",
    });
    const lists = groups.map(([name, operations]) => ({
        box: h("div", { class: "side-group" }, h("h2", null, name)),
        items: operations.map((operation) => ({
            text: `${operation.method} ${operation.path} ${operation.summary ?? ""}`.toLowerCase(),
            link: h("a", { href: `#${operation.id}` },
                h("span", { class: `method ${operation.method.toLowerCase()}` }, operation.method),
                h("span", { class: "side-path" }, operation.path)),
        })),
    }));
    for (const { box, items } of lists) {
        box.append(...items.map(({ link }) => link));
    }
    search.addEventListener("input", () => {
        const wanted = search.value.trim().toLowerCase();
        for (const { box, items } of lists) {
            let some = false;
            for (const { text, link } of items) {
                show(link, text.includes(wanted));
                some ||= text.includes(wanted);
            }
            show(box, some);
        }
    });
    const schemas = Object.keys(document.components?.schemas ?? {});
    return h("nav", { class: "docs-side", "aria-label": "Operations" }, search,
        lists.map(({ box }) => box),
        schemas.length > 0 ? h("div", { class: "side-group" }, h("h2", null, "Schemas"),
            schemas.map((name) => h("a", { href: `#schema-${slug(name)}` },
                h("span", { class: "side-path" }, name)))) : null);
}

function page(document: Document): HTMLElement[] {
    const groups = groupsOf(document, operationsOf(document));
    const described = new Map((document.tags ?? []).map((tag) => [tag.name, tag.description]));
    const schemas = Object.entries(document.components?.schemas ?? {});
    return [
        sidebar(document, groups),
        h("main", { id: "main", tabindex: -1, class: "docs-main" },
            h("p", { class: "lead" }, prose(document.info.description)),
            (document.security ?? []).length > 0 ? h("p", null,
                "Send the token as ", h("code", null, "Authorization: Bearer …"), ".") : null,
            groups.map(([name, operations]) =>
                h("section", { "aria-labelledby": `g-${slug(name)}` },
                    h("h2", { id: `g-${slug(name)}` }, name),
                    described.get(name) ? h("p", null, prose(described.get(name))) : null,
                    operations.map((operation) => operationCard(document, operation)))),
            schemas.length > 0 ? h("section", { "aria-labelledby": "g-schemas" },
                h("h2", { id: "g-schemas" }, "Schemas"),
                schemas.map(([name, schema]) => schemaCard(document, name, schema))) : null),
    ];
}

function head(version: string): HTMLElement {
    return h("header", { class: "top" },
        h("div", { class: "brand" }, logo(), h("h1", null, "Eider ",
            h("span", { class: "faint" }, `API reference ${version}`))),
        h("div", { class: "top-side" }, h("a", { href: "." }, "Dashboard"),
            h("a", { href: "openapi.json" }, "openapi.json"), themeButton()));
}

async function start(): Promise<void> {
    startTheme();
    const app = document.getElementById("app");
    if (!app) {
        return;
    }
    app.replaceChildren(head(""), h("main", { id: "main", tabindex: -1, class: "docs-main" },
        h("p", null, "Loading the description…")));
    try {
        const description = await getJson<Document>("openapi.json");
        app.replaceChildren(head(description.info.version),
            h("div", { class: "docs" }, page(description)));
        document.getElementById(location.hash.slice(1))?.scrollIntoView();
    } catch (error) {
        app.replaceChildren(head(""), h("main", { id: "main", class: "docs-main" },
            h("p", { class: "problem", role: "alert" },
                `The description cannot be loaded: ${messageOf(error)}`)));
    }
}

void start();
