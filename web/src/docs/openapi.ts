// Reading an OpenAPI 3 document: operations in groups, schemas resolved, examples made up. Pure.

export interface Schema {
    $ref?: string;
    type?: string | string[];
    format?: string;
    description?: string;
    enum?: unknown[];
    default?: unknown;
    example?: unknown;
    examples?: unknown[];
    properties?: Record<string, Schema>;
    required?: string[];
    items?: Schema;
    oneOf?: Schema[];
    anyOf?: Schema[];
    allOf?: Schema[];
    additionalProperties?: boolean | Schema;
    minimum?: number;
    maximum?: number;
    nullable?: boolean;
    "x-unit"?: string;
}

export interface Parameter {
    $ref?: string;
    name: string;
    in: "query" | "path" | "header" | "cookie";
    required?: boolean;
    description?: string;
    schema?: Schema;
    example?: unknown;
}

export interface Media {
    schema?: Schema;
    example?: unknown;
    examples?: Record<string, { value?: unknown }>;
}

export interface Content {
    description?: string;
    required?: boolean;
    content?: Record<string, Media>;
}

interface RawOperation {
    tags?: string[];
    summary?: string;
    description?: string;
    operationId?: string;
    parameters?: Parameter[];
    requestBody?: Content;
    responses?: Record<string, Content>;
    deprecated?: boolean;
}

export interface Document {
    openapi: string;
    info: { title: string; version: string; description?: string };
    tags?: { name: string; description?: string }[];
    paths: Record<string, Record<string, unknown>>;
    components?: { schemas?: Record<string, Schema>; [kind: string]: unknown };
    security?: Record<string, string[]>[];
}

export interface Operation extends RawOperation {
    id: string; // for the page's addresses
    method: string; // upper case
    path: string;
    group: string;
    parameters: Parameter[];
}

const methods = ["get", "post", "put", "patch", "delete", "head", "options"];

/** What a $ref points to, following further ones; the thing itself when it has none. */
export function resolve<T extends { $ref?: string }>(document: Document, value: T): T {
    let at: T = value;
    for (let depth = 0; at.$ref && depth < 16; depth++) {
        let found: unknown = document;
        for (const step of at.$ref.replace(/^#\//, "").split("/")) {
            const key = step.replaceAll("~1", "/").replaceAll("~0", "~");
            found = (found as Record<string, unknown> | undefined)?.[key];
        }
        if (typeof found !== "object" || found === null) {
            return at;
        }
        at = found as T;
    }
    return at;
}

export function refName(schema: Schema | undefined): string {
    return schema?.$ref?.split("/").at(-1) ?? "";
}

/** All operations, in the document's order. */
export function operationsOf(document: Document): Operation[] {
    const operations: Operation[] = [];
    for (const [path, item] of Object.entries(document.paths)) {
        const shared = (item["parameters"] as Parameter[] | undefined) ?? [];
        for (const method of methods) {
            const raw = item[method] as RawOperation | undefined;
            if (raw) {
                operations.push({
                    ...raw,
                    id: `${method}-${path.replace(/[^A-Za-z0-9]+/g, "-").replace(/^-|-$/g, "")}`,
                    method: method.toUpperCase(),
                    path,
                    group: raw.tags?.[0] ?? "Other",
                    parameters: [...shared, ...(raw.parameters ?? [])]
                        .map((parameter) => resolve(document, parameter)),
                });
            }
        }
    }
    return operations;
}

/** Groups in the order of the document's tags, then of their first operation. */
export function groupsOf(document: Document, operations: Operation[]): [string, Operation[]][] {
    const names = new Set([
        ...(document.tags ?? []).map((tag) => tag.name),
        ...operations.map((operation) => operation.group),
    ]);
    return [...names]
        .map((name): [string, Operation[]] =>
            [name, operations.filter((operation) => operation.group === name)])
        .filter(([, members]) => members.length > 0);
}

/** A short name of a type: "array of trades", "integer (int64)", "string or null". */
export function typeName(document: Document, schema: Schema | undefined): string {
    if (!schema) {
        return "any";
    }
    if (schema.$ref) {
        return refName(schema);
    }
    if (schema.type === "array" || schema.items) {
        return `array of ${typeName(document, schema.items)}`;
    }
    const several = schema.oneOf ?? schema.anyOf;
    if (several) {
        return several.map((one) => typeName(document, one)).join(" or ");
    }
    const names = Array.isArray(schema.type) ? schema.type.join(" or ") : schema.type ?? "any";
    const format = schema.format ? ` (${schema.format})` : "";
    return `${names}${schema.nullable ? " or null" : ""}${format}`;
}

/** Properties of an object, those of allOf included. */
export function propertiesOf(document: Document, schema: Schema): [string, Schema, boolean][] {
    const own = resolve(document, schema);
    const required = new Set(own.required ?? []);
    const direct = Object.entries(own.properties ?? {})
        .map(([name, value]): [string, Schema, boolean] => [name, value, required.has(name)]);
    return [...(own.allOf ?? []).flatMap((part) => propertiesOf(document, part)), ...direct];
}

/** Values that read well for the names that this service uses. */
const byName: Record<string, unknown> = {
    symbol: "AAPL", strategy_name: "momentum", strategy: "momentum", side: "buy", trade_id: "t-1",
    last_price: 187.25, price: 187.25, bid: 187.24, ask: 187.26, open: 187, high: 188, low: 186.5,
    close: 187.25, volume: 1200, quantity: 100, trades: 14, metric_name: "gateway_latency",
    value: 1.5, latency_ms: 1.8, fill_rate: 0.94, win_rate: 0.57, time_range: "1h", interval: "5m",
    metric_types: ["market_data"], symbols: ["AAPL"],
};

/** A body that fits a schema; what is given as an example wins. */
export function exampleOf(document: Document, schema: Schema | undefined, name = "",
                          depth = 0): unknown {
    if (!schema || depth > 6) {
        return null;
    }
    const own = resolve(document, schema);
    const given = own.example ?? own.examples?.[0];
    if (given !== undefined) {
        return given;
    }
    if (name in byName) {
        return byName[name];
    }
    if (own.default !== undefined) {
        return own.default;
    }
    if (own.enum && own.enum.length > 0) {
        return own.enum[0];
    }
    const several = own.oneOf ?? own.anyOf;
    if (several) {
        return exampleOf(document, several[0], name, depth + 1);
    }
    const properties = propertiesOf(document, own);
    if (properties.length > 0) {
        return Object.fromEntries(properties.map(([key, value]) =>
            [key, exampleOf(document, value, key, depth + 1)]));
    }
    return scalarExample(document, own, depth);
}

function scalarExample(document: Document, schema: Schema, depth: number): unknown {
    const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
    switch (type) {
        case "array":
            return schema.items && Object.keys(schema.items).length > 0
                ? [exampleOf(document, schema.items, "", depth + 1)] : [];
        case "integer":
        case "number":
            return schema.minimum ?? 0;
        case "boolean":
            return true;
        case "string":
            return schema.format === "date-time" ? "2026-01-02T03:04:05Z" : "text";
        case "object":
            return {};
        default:
            return null;
    }
}

/** The example of a media type: its own, or one made from its schema. */
export function mediaExample(document: Document, media: Media): unknown {
    const named = Object.values(media.examples ?? {})[0]?.value;
    return media.example ?? named ?? exampleOf(document, media.schema);
}

export function exampleText(example: unknown): string {
    return typeof example === "string" ? example : JSON.stringify(example, null, 2);
}
