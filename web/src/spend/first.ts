// What a new user sees: how to meter a first call, by hand and through the gateway.
import { address } from "../lib/api";
import { getToken, TOKEN_EVENT } from "../lib/auth";
import { h } from "../lib/dom";
import { panel, snippet } from "../lib/ui";

function command(path: string, body: Record<string, unknown>): string {
    const token = getToken() ? ` \\\n  -H "Authorization: Bearer $EIDER_TOKEN"` : "";
    return `curl '${address(path)}' \\\n` +
        `  -H 'Content-Type: application/json'${token} \\\n  -d '${JSON.stringify(body)}'`;
}

const reserve = () => command("api/v1/spend/reserve", {
    reservation_id: "my-first-call", api_name: "birdeye", endpoint: "/defi/price",
    run_id: "first-run", max_credits: 60,
});

const commit = () => command("api/v1/spend/commit", {
    reservation_id: "my-first-call", status_code: 200, latency_ms: 120, credits: 60,
});

const gateway = () => `curl '${address("gateway/birdeye/defi/price")}` +
    "?address=So11111111111111111111111111111111111111112' \\\n" +
    (getToken() ? '  -H "X-Eider-Token: $EIDER_TOKEN" \\\n' : "") +
    '  -H "X-API-KEY: $BIRDEYE_API_KEY" -H "X-Eider-Run-Id: first-run"';

export function firstCall(): HTMLElement {
    const place = h("ol", { class: "steps" });
    const fill = () => place.replaceChildren(
        h("li", null, h("p", null, "Reserve the most that the call may cost. A refusal (503) " +
            "means that a budget has no room: do not make the call."), snippet(reserve())),
        h("li", null, h("p", null, "Make the call. Then say how it went; what was not used is " +
            "free again."), snippet(commit())),
        h("li", null, h("p", null, "Or change one address in your program and let Eider do " +
            "both: the gateway reserves, calls, and books. It needs an upstream of that name in " +
            "the configuration (gateway.upstreams)."), snippet(gateway())));
    fill();
    addEventListener(TOKEN_EVENT, fill);
    return panel("Meter your first call", "first", [],
        h("div", { class: "empty" },
            h("p", { class: "empty-title" }, "No paid call was booked yet"),
            h("p", null, "Paste these into a terminal, one after the other, and watch the bars."),
            place));
}
