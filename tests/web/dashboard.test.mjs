// The dashboard in headless Chromium, against the real program when EIDER_BIN names it, otherwise
// against the mock.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import {
    columnsWith, launch, liveSelector, openPage, outage, waitForFrames,
} from "./browser.mjs";
import { startServer } from "./server.mjs";

const shell = promisify(execFile);
const views = ["live", "trades", "spend", "history", "sql", "status"];
let browser;

before(async () => {
    browser = await launch();
});

after(() => browser.close());

/** Waits until the text of an element matches. */
async function waitForText(page, selector, pattern) {
    await page.waitForFunction(
        ([s, p]) => new RegExp(p).test(document.querySelector(s)?.textContent ?? ""),
        [selector, pattern.source]);
}

test("it loads, is live, and says that the data is a demo", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, server.url);
    await page.waitForSelector(liveSelector);
    assert.equal(await page.title(), "Eider");
    await page.waitForSelector(".demo:visible");
    await waitForText(page, ".health .pill", /healthy/);
    await waitForText(page, ".link-age", /^\d+ ms old$/);
    await page.waitForSelector(".watch tbody tr");
    await page.waitForSelector(".panel-tape tbody tr");
    assert.ok(await page.locator(".watch tbody tr").count() >= 5);
    assert.ok(await page.locator(".panel-strategies tbody tr").count() >= 3);
});

test("its figures move with the frames of the stream", async (t) => {
    const server = await startServer(t);
    const seen = new Set();
    const page = await openPage(t, browser, server.url, {
        prepare: (opening) => opening.on("websocket", (socket) =>
            socket.on("framereceived", ({ payload }) => {
                if (String(payload).includes('"market_data"')) {
                    seen.add(JSON.parse(String(payload)).timestamp);
                }
            })),
    });
    await waitForFrames(page, 12);
    assert.ok(seen.size >= 12, `${seen.size} different frames for 12 figures`);
});

test("its charts are drawn", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, server.url);
    await waitForFrames(page, 12);
    const lines = [
        [".panel-host", "s2"], [".panel-market .chosen", "s1"],
        [".chart-pair > :first-child", "s4"], [".panel-strategies", "s1"],
        [".panel-execution .chart:last-child", "s6"],
    ];
    for (const [selector, colour] of lines) {
        const columns = await columnsWith(page, selector, colour);
        const drawn = columns.filter(Boolean).length;
        assert.ok(drawn > 3, `${selector} has ${drawn} columns of ${colour}`);
    }
});

test("its charts begin with what is stored", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, server.url);
    for (const [selector, colour] of [
        [".panel-market .chosen", "s1"], [".chart-pair > :last-child", "s2"],
        [".panel-strategies", "s1"], [".panel-execution", "s1"],
    ]) {
        let share = 0;
        for (let tries = 0; share < 0.6 && tries < 20; tries++) {
            await waitForFrames(page, 2);
            const columns = await columnsWith(page, selector, colour);
            share = columns.filter(Boolean).length / columns.length;
        }
        assert.ok(share >= 0.6, `${selector} is drawn over ${share} of its width`);
    }
});

test("it survives a restart of the server and shows the gap", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, server.url, { expected: outage });
    await page.click("text=30 s");
    await waitForFrames(page, 12);
    await server.stop();
    await page.waitForSelector('.link[data-state="waiting"]');
    await waitForText(page, ".link-word", /^Reconnecting in \d+ s$|^Connecting/);
    await waitForText(page, ".link [role=status]", /Connection lost/);
    await waitForText(page, ".health .pill", /unknown/);
    await waitForText(page, ".link-age", /^([3-9]|\d\d)\.\d s old$/);
    await server.start();
    await page.waitForSelector(liveSelector);
    await waitForText(page, ".link [role=status]", /Connected/);
    await waitForText(page, ".health .pill", /healthy/);
    await waitForFrames(page, 10);
    const memory = await columnsWith(page, ".panel-host", "s2");
    const runs = memory.map((on) => (on ? "x" : " ")).join("").trim().split(/ {12,}/);
    assert.ok(runs.length >= 2, `no gap in "${runs}"`);
});

test("at 360 pixels nothing is wider than the screen", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, server.url, { viewport: { width: 360, height: 740 } });
    await waitForFrames(page, 3);
    for (const view of views) {
        await page.click(`#tab-${view}`);
        await page.waitForSelector(`#view-${view}:visible`);
        if (view !== "live") {
            await page.waitForSelector(`#view-${view} .panel`);
        }
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(width <= 360, `${view} is ${width} pixels wide`);
    }
});

test("the keyboard reaches every view and shows where it is", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, server.url);
    await waitForFrames(page, 3);
    const focused = () => page.evaluate(() => ({
        text: document.activeElement.textContent.trim(),
        id: document.activeElement.id,
        outline: getComputedStyle(document.activeElement).outlineStyle,
    }));
    await page.keyboard.press("Tab");
    assert.equal((await focused()).text, "Skip to the content");
    await page.keyboard.press("Enter");
    assert.equal((await focused()).id, "main");
    await page.reload();
    await page.waitForSelector(liveSelector);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    for (const view of views) {
        const { id, outline } = await focused();
        assert.equal(id, `tab-${view}`);
        assert.notEqual(outline, "none");
        assert.equal(await page.getAttribute(`#tab-${view}`, "aria-selected"), "true");
        assert.ok(await page.isVisible(`#view-${view}`));
        assert.equal(await page.locator("[role=tabpanel]:visible").count(), 1);
        await page.keyboard.press("ArrowRight");
    }
    assert.equal((await focused()).id, "tab-live");
    await page.keyboard.press("End");
    assert.equal(new URL(page.url()).hash, "#status");
});

test("the keyboard chooses a symbol", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, server.url);
    await page.waitForSelector(".watch tbody tr");
    const second = await page.locator(".watch tbody tr th").nth(1).textContent();
    await page.focus(".watch input");
    await page.keyboard.type(second.toLowerCase());
    await page.waitForFunction(() => document.querySelectorAll(".watch tbody tr").length === 1);
    await page.keyboard.press("Enter");
    await waitForText(page, ".symbol-name", new RegExp(second));
    assert.equal(await page.getAttribute(".watch tbody button", "aria-pressed"), "true");
});

test("every control has a name, and every chart a description", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, server.url);
    await waitForFrames(page, 3);
    for (const view of views) {
        await page.click(`#tab-${view}`);
        const nameless = await page.evaluate(() =>
            [...document.querySelectorAll(
                "button, input, select, textarea, [role=img], [role=region]")]
                .filter((e) => e.checkVisibility() && !(e.textContent.trim() ||
                    e.getAttribute("aria-label") || e.labels?.[0]?.textContent.trim() ||
                    document.getElementById(e.getAttribute("aria-labelledby"))?.textContent))
                .map((e) => e.outerHTML));
        assert.deepEqual(nameless, [], view);
    }
});

test("the theme follows the system until it is chosen, and is remembered", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, server.url, { colorScheme: "light" });
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    const ground = () => page.evaluate(() =>
        getComputedStyle(document.documentElement).backgroundColor);
    await waitForFrames(page, 3);
    assert.equal(await theme(), "light");
    const light = await ground();
    await page.emulateMedia({ colorScheme: "dark" });
    await page.waitForFunction(() => document.documentElement.dataset.theme === "dark");
    assert.notEqual(await ground(), light);
    await page.click('button[aria-label="Switch to the light theme"]');
    assert.equal(await theme(), "light");
    await page.reload();
    await page.waitForSelector(liveSelector);
    assert.equal(await theme(), "light");
    await waitForFrames(page, 5);
    assert.ok((await columnsWith(page, ".panel-host", "s2")).some(Boolean));
});

test("history answers a range, draws it and saves it", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, `${server.url}#history`);
    await page.waitForSelector("#view-history tbody tr");
    await waitForText(page, "#view-history .result-note", /rows,/);
    await page.selectOption("#view-history select >> nth=0", "strategy");
    await waitForText(page, "#view-history .plot h3", /Profit and loss/);
    await page.click("#view-history label:has-text('24 h')");
    await page.waitForSelector("#view-history .plot canvas");
    await page.waitForFunction(() => !document.querySelector(".panel-history[aria-busy]"));
    assert.ok((await columnsWith(page, "#view-history .plot", "s1")).some(Boolean));
    const [file] = await Promise.all([
        page.waitForEvent("download"), page.click("#view-history >> text=Download CSV"),
    ]);
    const lines = readFileSync(await file.path(), "utf8").split("\r\n");
    assert.match(lines[0], /^timestamp,strategy_name,pnl/);
    assert.ok(lines.length > 3);
    await page.click("#view-history label:has-text('From – to')");
    await page.click("#view-history >> text=Show");
    await waitForText(page, "#view-history .result-note", /rows,/);
});

test("SQL shows its answer, and the error of a wrong statement", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, `${server.url}#sql`, { expected: [/status of 4\d\d/] });
    await page.waitForSelector(liveSelector);
    await page.waitForSelector(".schema summary");
    const run = async (sql) => {
        await page.fill("textarea", sql);
        await page.focus("textarea");
        await page.keyboard.press("Control+Enter");
    };
    await run("SELECT symbol, count(*) AS trades, avg(price) AS value FROM trades GROUP BY 1");
    await page.waitForSelector(".sql-main tbody tr");
    assert.deepEqual(await page.locator(".sql-main thead th").allTextContents(),
        ["symbol", "trades", "value"]);
    await run("SELEC 1");
    await waitForText(page, ".sql-main [role=alert]", /SELEC/);
    assert.equal(await page.locator(".sql-main tbody tr").count(), 0);
    for (const label of await page.locator(".sql-main select option:not(:first-child)").all()) {
        const name = await label.textContent();
        await page.selectOption(".sql-main select", { label: name });
        await waitForText(page, ".sql-main .result-note", /\d+ rows in/);
        assert.ok(await page.isHidden(".sql-main [role=alert]"), name);
        await page.selectOption(".sql-main select", "");
    }
});

test("trades can be filtered and paged", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, `${server.url}#trades`);
    await page.waitForSelector("#view-trades tbody tr");
    await page.selectOption("#view-trades select", "sell");
    await page.waitForFunction(() => {
        const sides = [...document.querySelectorAll("#view-trades tbody td.down")];
        return sides.length > 3 && !document.querySelector("#view-trades tbody td.up");
    });
    await page.click("#view-trades >> text=Older");
    await waitForText(page, ".position", /^51–/);
    await page.click("#view-trades >> text=Newer");
    await waitForText(page, ".position", /^1–50 of/);
});

test("status tells of components, tables and log", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, `${server.url}#status`);
    await waitForText(page, ".panel-components tbody", /system.*running/);
    await waitForText(page, ".panel-tables tbody", /market_data/);
    await waitForText(page, ".panel-service .facts", /Durable LSN\d/);
    await waitForText(page, ".panel-log tbody", /info/);
    await waitForText(page, ".panel-page .facts", /Rate\d+\.\d Hz/);
});

test("an empty server shows how to write, and the command works", async (t) => {
    const server = await startServer(t, { demo: false });
    const page = await openPage(t, browser, server.url);
    await waitForText(page, ".panel-market .empty-title", /No market data yet/);
    await waitForText(page, ".panel-tape .empty-title", /No trades yet/);
    assert.ok(await page.isHidden(".demo"));
    for (const [panel, shown] of [["market", ".symbol-price"], ["strategies", "tbody tr"],
        ["execution", ".funnel"], ["tape", "tbody tr"]]) {
        const command = await page.textContent(`.panel-${panel} .snippet code`);
        await shell("sh", ["-c", `${command} --fail --silent --show-error`]);
        await page.waitForSelector(`.panel-${panel} ${shown}:visible`);
        assert.ok(await page.isHidden(`.panel-${panel} .empty`));
    }
    await waitForText(page, ".symbol-price", /187\.25/);
});

test("a server with a token is asked with it", async (t) => {
    const server = await startServer(t, { token: "open-sesame" });
    const page = await openPage(t, browser, server.url, {
        expected: [/status of 401/, /WebSocket connection to/],
    });
    await page.waitForSelector("dialog[open]");
    await page.fill("#token-input", "wrong");
    await page.keyboard.press("Enter");
    await waitForText(page, "#token-hint", /refused/);
    await page.fill("#token-input", "open-sesame");
    await page.keyboard.press("Enter");
    await waitForFrames(page, 5);
    await page.reload();
    await waitForFrames(page, 5);
    await page.click("#tab-trades");
    await page.waitForSelector("#view-trades tbody tr");
});
