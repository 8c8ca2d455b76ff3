// One entry of the event log, in a dialog: all its columns, its place in the chain and its hash.
import { getJson, messageOf } from "../lib/api";
import { h, uniqueId } from "../lib/dom";
import { dateTime, millis, parseTime } from "../lib/format";
import { problemLine, snippet } from "../lib/ui";
import { credits } from "./words";

type Json = Record<string, unknown>;

const labels: [key: string, label: string][] = [
    ["id", "Id"], ["seq", "Place in the chain"], ["timestamp", "Called (UTC)"],
    ["created_at", "Written (UTC)"], ["api_name", "API"], ["endpoint", "Endpoint"],
    ["method", "Method"], ["status_code", "Status"], ["success", "Success"],
    ["latency_ms", "Latency"], ["credits_cost", "Credits"], ["price_rule", "Price rule"],
    ["run_id", "Run"], ["project", "Project"], ["api_key", "Key label"],
    ["reservation_id", "Reservation"], ["error_message", "Error"],
];

const isSaid = (value: unknown): boolean => value !== null && value !== undefined && value !== "";

function valueText(key: string, value: unknown): string {
    if (!isSaid(value)) {
        return "no answer"; // a status; what else is not said is not shown
    }
    if (key === "timestamp" || key === "created_at") {
        return dateTime(parseTime(value));
    }
    if (key === "latency_ms") {
        return millis(Number(value));
    }
    if (key === "credits_cost") {
        return credits(Number(value));
    }
    return key === "success" ? (value === true ? "yes" : "no") : String(value);
}

function metadataText(value: unknown): string | null {
    if (value === null || value === undefined || value === "") {
        return null;
    }
    try {
        const json: unknown = typeof value === "string" ? JSON.parse(value) : value;
        return JSON.stringify(json, null, 2);
    } catch {
        return String(value);
    }
}

/** Where a link to another entry goes. */
type Open = (id: string) => void;

function facts(event: Json, open: Open): HTMLElement {
    const row = (label: string, value: string | HTMLElement) =>
        h("div", null, h("dt", null, label), h("dd", null, value));
    const corrects = event["corrects"];
    return h("dl", { class: "facts event-facts" },
        labels.filter(([key]) => isSaid(event[key]) || key === "status_code")
            .map(([key, label]) => row(label, valueText(key, event[key]))),
        typeof corrects === "string" && corrects !== "" ? row("Corrects", h("button", {
            type: "button", class: "link", onclick: () => open(corrects),
        }, corrects)) : null);
}

/** Shows an entry; ends when the dialog is closed. */
export function showEvent(id: string): Promise<void> {
    const titleId = uniqueId("dialog");
    const body = h("div", { class: "event-body", "aria-busy": "true" });
    const problem = problemLine();
    const close = h("button", { type: "button", class: "button primary" }, "Close");
    const dialog = h("dialog", { class: "dialog wide", "aria-labelledby": titleId },
        h("h2", { id: titleId }, "Entry of the event log"), problem.root, body,
        h("div", { class: "dialog-actions" }, close));
    let wanted = id;

    async function load(next: string): Promise<void> {
        wanted = next;
        try {
            const event = await getJson<Json>(`api/v1/events/${encodeURIComponent(next)}`);
            if (wanted !== next) {
                return;
            }
            const metadata = metadataText(event["metadata"] ?? event["metadata_json"]);
            body.replaceChildren(
                facts(event, (other) => void load(other)),
                ...(metadata ? [h("h3", null, "Metadata"), snippet(metadata)] : []),
                h("h3", null, "Hash (SHA-256, over this entry and the hash before it)"),
                snippet(String(event["hash"] ?? "–")));
            problem.set("");
        } catch (error) {
            problem.set(`The entry ${next} cannot be shown: ${messageOf(error)}`);
        }
        body.removeAttribute("aria-busy");
    }

    document.body.append(dialog);
    return new Promise((resolve) => {
        close.addEventListener("click", () => dialog.close());
        dialog.addEventListener("close", () => {
            dialog.remove();
            resolve();
        });
        dialog.showModal();
        close.focus();
        void load(id);
    });
}
