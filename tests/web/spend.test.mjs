// The spend view in a browser, against the mock or, with EIDER_BIN, the program. What is shown is
// brought about through the API, as a client would.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { columnsWith, launch, liveSelector, openPage } from "./browser.mjs";
import { startMock, startServer } from "./server.mjs";

const shell = promisify(execFile);
let browser;

before(async () => {
    browser = await launch();
});

after(() => browser.close());

async function call(server, method, path, body, token) {
    const response = await fetch(new URL(path, server.url), {
        method,
        headers: {
            "Content-Type": "application/json",
            ...(token ? { Authorization: `Bearer ${token}` } : {}),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = await response.json();
    assert.ok(response.ok, `${method} ${path}: ${JSON.stringify(answer)}`);
    return answer;
}

const setBudget = (server, name, definition, token) =>
    call(server, "PUT", `api/v1/spend/budgets/${name}`, definition, token);

const reserve = (server, run, credits, more = {}) =>
    call(server, "POST", "api/v1/spend/reserve", {
        api_name: "birdeye", endpoint: "/defi/price", run_id: run, max_credits: credits, ...more,
    }, more.token);

const commit = (server, reservation, credits, more = {}, token = undefined) =>
    call(server, "POST", "api/v1/spend/commit", {
        reservation_id: reservation.reservation_id, credits, status_code: 200, latency_ms: 12.5,
        ...more,
    }, token);

/** One call from beginning to end. */
async function book(server, run, credits, reserveMore = {}, commitMore = {}) {
    const { token, ...rest } = reserveMore;
    const body = { api_name: "birdeye", endpoint: "/defi/price", run_id: run,
        max_credits: credits, ...rest };
    const reservation = await call(server, "POST", "api/v1/spend/reserve", body, token);
    return commit(server, reservation, credits, commitMore, token);
}

async function waitForText(page, selector, pattern) {
    await page.waitForFunction(
        ([s, p]) => new RegExp(p).test(document.querySelector(s)?.textContent ?? ""),
        [selector, pattern.source]);
}

/** For what happens here and not in the page. */
async function waitUntil(holds) {
    const end = Date.now() + 20000;
    while (!holds()) {
        assert.ok(Date.now() < end, `not in time: ${holds}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
    }
}

const card = (name) => `.budget[data-budget="${name}"]`;

async function openSpend(t, server, options = {}) {
    const page = await openPage(t, browser, `${server.url}#spend`, options);
    await page.waitForSelector(".budget");
    return page;
}

/** Width of a part of a bar, as a share of the bar. */
const share = (page, name, part) => page.locator(`${card(name)} .${part}`).evaluate((element) =>
    element.getBoundingClientRect().width / element.parentElement.getBoundingClientRect().width);

test("a bar moves with the stream while calls are reserved and booked", async (t) => {
    const server = await startServer(t);
    await setBudget(server, "bar", {
        scope: { run_id: "bar" }, window: "sliding", window_minutes: 60, hard_limit: 1000,
        soft_limit: 500,
    });
    const page = await openSpend(t, server);
    await waitForText(page, `${card("bar")} .counter-figures`, /^0 used of 1,000/);
    await page.waitForSelector(liveSelector);
    // From here on an answer is as old as the page: only frames can tell of anything new.
    const answer = await call(server, "GET", "api/v1/spend/budgets");
    await page.route("**/api/v1/spend/budgets", (route) => route.fulfill({ json: answer }));
    const reservation = await reserve(server, "bar", 300);
    await waitForText(page, `${card("bar")} .counter-figures`, /^0 used \+ 300 reserved of 1,000/);
    assert.ok(await share(page, "bar", "bar-used") < 0.01);
    const reserved = await share(page, "bar", "bar-reserved");
    assert.ok(reserved > 0.2 && reserved < 0.35, `reserved takes ${reserved}`);
    await waitForText(page, ".panel-reservations tbody", /\/defi\/price.*300/);
    await commit(server, reservation, 250);
    await waitForText(page, `${card("bar")} .counter-figures`, /^250 used of 1,000 · 25\.0 %/);
    const used = await share(page, "bar", "bar-used");
    assert.ok(used > 0.18 && used < 0.3, `used takes ${used}`);
    assert.ok(await share(page, "bar", "bar-reserved") < 0.01);
    const bar = page.locator(`${card("bar")} [role=meter]`);
    assert.equal(await bar.getAttribute("aria-valuenow"), "250");
    assert.equal(await bar.getAttribute("aria-valuemax"), "1000");
    assert.match(await bar.getAttribute("aria-valuetext"), /250 used of 1,000, soft limit 500/);
    assert.equal(await bar.getAttribute("data-level"), "calm");
    await book(server, "bar", 300);
    await page.waitForSelector(`${card("bar")} [role=meter][data-level=soft]`);
});

test("a breaker that opens is seen at once, and can be reset with the token", async (t) => {
    const token = "open-sesame";
    const server = await startServer(t, { token });
    await setBudget(server, "trip", {
        scope: { run_id: "trip" }, window: "hour", hard_limit: 100, soft_limit: 0,
    }, token);
    const page = await openPage(t, browser, `${server.url}#spend`, {
        expected: [/status of 401/, /WebSocket connection to/],
    });
    await page.waitForSelector("dialog[open]");
    await page.fill("#token-input", token);
    await page.keyboard.press("Enter");
    await page.waitForSelector(`${card("trip")} [data-state=closed]`);
    await page.waitForSelector(liveSelector);
    const answer = await call(server, "GET", "api/v1/spend/budgets", undefined, token);
    await page.route("**/api/v1/spend/budgets", (route) => route.fulfill({ json: answer }));
    await book(server, "trip", 100, { token });
    await page.waitForSelector(`${card("trip")} [data-state=open]`);
    await page.waitForSelector(".spend-now [data-state=open]");
    await waitForText(page, `${card("trip")} .counter-forecast`, /^used up; begins again at/);
    await page.unroute("**/api/v1/spend/budgets");
    await page.click('button[aria-label="Reset trip"]');
    await page.waitForSelector("dialog[open]");
    await page.keyboard.type("paid the bill"); // the reason has the focus
    await page.keyboard.press("Enter");
    await page.waitForSelector("dialog", { state: "detached" });
    await waitForText(page, ".panel-budgets [role=status]", /trip was reset/);
    await page.waitForSelector(`${card("trip")} [data-state=closed]`);
    await waitForText(page, `${card("trip")} .counter-figures`, /^0 used of 100/);
    if (server.spend) {
        assert.deepEqual(server.spend.changes,
            [{ name: "trip", action: "reset", reason: "paid the bill" }]);
    }
});

test("forcing open is asked about first, and enforce takes it back", async (t) => {
    const server = await startServer(t);
    await setBudget(server, "stop", { scope: { run_id: "stop" }, window: "day",
        hard_limit: 1000 });
    const page = await openSpend(t, server);
    const button = 'button[aria-label="Force open stop"]';
    await page.focus(button);
    await page.keyboard.press("Enter");
    await page.waitForSelector("dialog[open]");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Cancel");
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog", { state: "detached" });
    assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), "Force open stop");
    assert.equal((await call(server, "GET", "api/v1/spend/budgets")).budgets
        .find((b) => b.name === "stop").mode, "enforce");
    assert.ok(await page.isHidden('button[aria-label="Enforce stop"]'));
    await page.click(button);
    await page.click("dialog >> text=Force open >> nth=-1");
    await page.waitForSelector(`${card("stop")} [data-state=forced_open]`);
    await page.waitForSelector(".spend-now [data-state=forced_open]");
    await page.click('button[aria-label="Enforce stop"]');
    await page.click("dialog button[type=submit]");
    await page.waitForSelector(`${card("stop")} [data-state=closed]`);
});

test("a change that is refused says why and can be tried with another token", async (t) => {
    const server = await startServer(t);
    const page = await openSpend(t, server, { expected: [/status of 403/] });
    await page.route("**/budgets/*/reset", (route) => route.fulfill({
        status: 403, json: { detail: 'the token "reader" lacks the scope admin' },
    }));
    await page.click('button[aria-label="Reset default"]');
    await page.click("dialog button[type=submit]");
    await waitForText(page, "dialog [role=alert]", /lacks the scope admin/);
    await page.unroute("**/budgets/*/reset");
    await page.click("dialog >> text=Another token");
    await page.fill("#token-input", "any");
    await page.keyboard.press("Enter");
    await page.waitForSelector("dialog", { state: "detached" });
    await waitForText(page, ".panel-budgets [role=status]", /default was reset/);
});

test("the log is filtered by API, endpoint, run, status, success and time", async (t) => {
    const server = await startServer(t);
    const run = { run_id: "filters" };
    await book(server, "filters", 5, { api_name: "apples", endpoint: "/core" });
    await book(server, "filters", 6, { api_name: "apples", endpoint: "/peel" },
        { status_code: 429 });
    await book(server, "filters", 7, { api_name: "pears", endpoint: "/core" },
        { status_code: 503 });
    const page = await openSpend(t, server);
    const labelled = (label) => page.locator(".log-filters").getByLabel(label, { exact: true });
    const shown = async (wanted) => {
        await page.waitForFunction((n) => {
            const rows = [...document.querySelectorAll(".panel-events tbody tr")];
            return rows.length === n.length &&
                rows.every((row, i) => row.children[7].textContent === n[i]);
        }, wanted);
    };
    const set = async (label, value) => {
        await labelled(label).fill(value);
        await labelled(label).press("Enter");
    };
    await set("Run", run.run_id);
    await shown(["7", "6", "5"]);
    await set("API", "apples");
    await shown(["6", "5"]);
    await set("Endpoint", "/core");
    await shown(["5"]);
    await set("Endpoint", "");
    await set("Status", "429");
    await shown(["6"]);
    await set("Status", "");
    await set("API", "");
    await set("Status", "5xx");
    await shown(["7"]);
    await set("Status", "");
    await labelled("Success").selectOption("true");
    await shown(["5"]);
    await labelled("Success").selectOption("");
    await labelled("From (UTC)").fill("2999-01-01T00:00:01");
    await labelled("From (UTC)").press("Enter");
    await shown([]);
    await waitForText(page, ".panel-events .empty-note", /No entry matches/);
    assert.ok(await page.isVisible(".panel-events .empty-note"));
    await labelled("From (UTC)").fill("2020-01-01T00:00:01");
    await labelled("From (UTC)").press("Enter");
    await shown(["7", "6", "5"]);
    await page.click(".log-filters >> text=Clear");
    await page.waitForSelector(".log-filters >> text=Clear", { state: "hidden" });
    assert.equal(await labelled("Run").inputValue(), "");
    await page.waitForFunction(() =>
        document.querySelectorAll(".panel-events tbody tr").length >= 3);
});

test("the log is paged by cursor, and new entries do not shift a page", async (t) => {
    const server = await startServer(t);
    for (let i = 0; i < 60; i++) {
        await book(server, "pages", i + 1, { api_name: "pager" });
    }
    const page = await openSpend(t, server);
    await page.locator(".log-filters").getByLabel("Run", { exact: true }).fill("pages");
    await page.keyboard.press("Enter");
    await waitForText(page, ".panel-events .position", /^1–50 and more$/);
    const first = ".panel-events tbody tr:first-child td:nth-child(8)";
    await waitForText(page, first, /^60$/);
    await page.click(".panel-events >> text=Older");
    await waitForText(page, ".panel-events .position", /^51–60$/);
    await waitForText(page, first, /^10$/);
    await book(server, "pages", 61, { api_name: "pager" });
    await page.waitForFunction(() => /61 credits|pager/.test(document.body.textContent));
    await waitForText(page, first, /^10$/);
    assert.ok(await page.isDisabled(".panel-events >> text=Older"));
    await page.click(".panel-events >> text=Newer");
    await waitForText(page, first, /^61$/);
    assert.ok(await page.isDisabled(".panel-events >> text=Newer"));
});

test("an entry can be looked at by keyboard, with its hash; the head is shown", async (t) => {
    const server = await startServer(t);
    const { event_id: id } = await book(server, "details", 42, {}, { status_code: 404 });
    const page = await openSpend(t, server);
    await waitForText(page, ".panel-events tbody tr:first-child", /details/);
    await page.focus(".panel-events tbody tr:first-child button");
    await page.keyboard.press("Enter");
    const event = await call(server, "GET", `api/v1/events/${id}`);
    await waitForText(page, "dialog .event-facts", /Run\s*details/);
    await waitForText(page, "dialog .event-facts", /Credits\s*42/);
    await waitForText(page, "dialog .event-facts", /Status\s*404/);
    assert.match(event.hash, /^[0-9a-f]{64}$/);
    await waitForText(page, "dialog", new RegExp(event.hash));
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog", { state: "detached" });
    assert.equal(await page.evaluate(() => document.activeElement.className), "link");
    await waitForText(page, ".panel-chain .hash", /^[0-9a-f]{64}$/);
    const head = await call(server, "GET", "api/v1/events/head");
    await waitForText(page, ".panel-chain .hash", new RegExp(head.hash));
});

test("credits over time are drawn by API, run and endpoint", async (t) => {
    const server = await startServer(t);
    await book(server, "chart-run", 90, { api_name: "chart-api", endpoint: "/chart/endpoint" });
    const page = await openSpend(t, server);
    const rows = ".panel-credits tbody";
    await waitForText(page, rows, /chart-api/);
    assert.ok((await columnsWith(page, ".panel-credits", "s1")).some(Boolean));
    await page.click(".panel-credits label:has-text('Run')");
    await waitForText(page, rows, /chart-run/);
    await page.click(".panel-credits label:has-text('Endpoint')");
    await waitForText(page, rows, /\/chart\/endpoint/);
    await page.click(".panel-credits label:has-text('30 d')");
    await waitForText(page, ".panel-credits .result-note", /one day/);
    await waitForText(page, ".panel-spending .panel-side", /last 30 d/);
    assert.ok((await columnsWith(page, ".panel-credits", "s1")).some(Boolean));
});

test("frames carry spending only while it is looked at, and everything else always", async (t) => {
    const server = await startServer(t);
    const frames = [];
    const page = await openPage(t, browser, server.url, {
        prepare: (opening) => opening.on("websocket", (socket) =>
            socket.on("framereceived", ({ payload }) => {
                const text = String(payload);
                if (text.startsWith("{") && !text.includes('"connected"')) {
                    frames.push(JSON.parse(text));
                }
            })),
    });
    await waitUntil(() => frames.length >= 5);
    assert.ok(frames.every((frame) => !("spend" in frame)));
    await page.click("#tab-spend");
    await page.waitForSelector(".budget");
    await waitUntil(() => "spend" in frames.at(-1));
    assert.ok(frames.every((frame) => "market_data" in frame && "system" in frame));
    const { spend } = frames.at(-1);
    for (const name of ["credits_total", "reserved", "budgets", "recent"]) {
        assert.ok(name in spend, name);
    }
    for (const name of ["name", "instance", "used", "reserved", "hard_limit", "soft_limit",
        "state", "forecast_at"]) {
        assert.ok(name in spend.budgets[0], name);
    }
    await page.click("#tab-live");
    await waitUntil(() => !("spend" in frames.at(-1)));
    const before = frames.length;
    await waitUntil(() => frames.length >= before + 3);
    assert.ok(frames.every((frame) => "market_data" in frame && "system" in frame));
    assert.ok(!("spend" in frames.at(-1)));
});

test("an empty log tells how to begin, and the commands work", async (t) => {
    const server = await startServer(t, { demo: false });
    const page = await openPage(t, browser, `${server.url}#spend`);
    await page.waitForSelector(".panel-first:visible");
    assert.ok(await page.isHidden(".panel-events"));
    const commands = await page.locator(".panel-first .snippet code").allTextContents();
    assert.equal(commands.length, 3);
    assert.match(commands[2], /\/gateway\/birdeye\//);
    await shell("sh", ["-c", `${commands[0]} --fail --silent --show-error`]);
    await waitForText(page, ".panel-reservations tbody", /first-run.*60|60/);
    await shell("sh", ["-c", `${commands[1]} --fail --silent --show-error`]);
    await page.waitForSelector(".panel-events tbody tr:visible");
    assert.ok(await page.isHidden(".panel-first"));
    await waitForText(page, ".panel-events tbody", /first-run/);
    await waitForText(page, ".panel-credits tbody", /birdeye/);
});

test("what cannot be known is said", async (t) => {
    const server = await startMock(t);
    const page = await openPage(t, browser, server.url, { expected: [/status of 503/] });
    await page.route(/api\/v1\/(spend|events)/, (route) => route.fulfill({
        status: 503, json: { detail: "metering is switched off" },
    }));
    await page.click("#tab-spend");
    for (const name of ["budgets", "credits", "reservations", "prices", "chain"]) {
        await waitForText(page, `.panel-${name} [role=alert]`, /metering is switched off/);
    }
    await page.unroute(/api\/v1\/(spend|events)/);
    await page.waitForSelector(".budget");
    assert.ok(await page.isHidden(".panel-budgets [role=alert]"));
    await page.waitForSelector(".panel-events tbody tr");
});

test("prices show the version in force, and a budget with many counters its fullest", async (t) => {
    const server = await startMock(t);
    for (let i = 0; i < 9; i++) {
        server.spend.open.set(`many-${i}`, { reservation_id: `many-${i}`, api_name: "birdeye",
            endpoint: "/", run_id: null, project: `p${i}`, credits: 10 + i, created_at: 0,
            expires_at: Date.now() / 1000 + 60 });
    }
    server.spend.budgets.push({ ...server.spend.budgets[0], name: "each",
        scope: { project: "*" } });
    const page = await openSpend(t, server);
    await waitForText(page, ".panel-prices", /birdeye version 2/);
    assert.doesNotMatch(await page.textContent(".panel-prices"), /version 1|old/);
    await page.waitForFunction((s) => document.querySelectorAll(`${s} .counter`).length === 5,
        card("each"));
    await waitForText(page, `${card("each")} .counter:first-child`, /project=p8/);
    await page.click(`${card("each")} >> text=All 9 counters`);
    await page.waitForFunction((s) => document.querySelectorAll(`${s} .counter`).length === 9,
        card("each"));
});
