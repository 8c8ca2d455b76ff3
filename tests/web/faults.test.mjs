// What the page does when the server does what a real one cannot be asked to. Always the mock.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, liveSelector, openPage, outage, waitForFrames } from "./browser.mjs";
import { startMock } from "./server.mjs";

let browser;

before(async () => {
    browser = await launch();
});

after(() => browser.close());

/** Counts changes of the processor's figure while `frames` frames arrive. */
async function changesDuring(page, frames) {
    const counted = page.evaluate((wanted) => new Promise((resolve) => {
        const element = document.querySelector(".panel-host .stat-value");
        let changes = 0;
        const observer = new MutationObserver(() => changes++);
        observer.observe(element, { childList: true, characterData: true, subtree: true });
        const socket = new WebSocket(new URL("ws/metrics", location.href.replace(/^http/, "ws")));
        let seen = 0;
        socket.onmessage = () => {
            if (++seen > wanted) {
                socket.close();
                resolve(changes);
            }
        };
    }), frames);
    return counted;
}

test("heartbeats, unknown messages and garbage do no harm", async (t) => {
    const server = await startMock(t);
    const page = await openPage(t, browser, `${server.url}#status`);
    await page.waitForSelector(liveSelector);
    for (const text of ["ping", '{"type":"notice"}', "3", "null", "[]", "{not json"]) {
        server.say(text);
    }
    await page.waitForFunction(() =>
        /Not understood1/.test(document.querySelector(".panel-page .facts").textContent));
    await page.click("#tab-live");
    await waitForFrames(page, 4);
});

test("silence on an open connection is shown", async (t) => {
    const server = await startMock(t);
    const page = await openPage(t, browser, server.url);
    await waitForFrames(page, 3);
    server.silent = true;
    await page.waitForSelector('.link[data-state="stalled"]');
    server.silent = false;
    await page.waitForSelector(liveSelector);
});

test("reasons for ill health can be read", async (t) => {
    const server = await startMock(t);
    const page = await openPage(t, browser, server.url, { expected: outage });
    await page.waitForSelector(".health .pill.ok");
    server.unhealthy = "the disk is full";
    await page.waitForSelector(".health .pill.bad");
    await page.focus(".health .pill");
    await page.waitForSelector("#health-reasons:visible >> text=the disk is full");
    await page.focus("#tab-live");
    await page.waitForSelector("#health-reasons", { state: "hidden" });
});

test("an alert appears, and can be acknowledged", async (t) => {
    const server = await startMock(t);
    const page = await openPage(t, browser, server.url);
    await waitForFrames(page, 3);
    server.alerts = [{
        alert_id: "cpu_high_1", type: "cpu_high", message: "CPU usage 91.2 %", active: true,
        severity: "warning", timestamp: new Date().toISOString(),
    }];
    await page.click("text=Acknowledge");
    await page.waitForSelector(".alert >> text=acknowledged");
    assert.deepEqual(server.acknowledged, ["cpu_high_1"]);
    server.alerts = [];
    await page.waitForSelector(".alert", { state: "detached" });
});

test("a paused page stands still, and goes on", async (t) => {
    const server = await startMock(t);
    const page = await openPage(t, browser, server.url);
    await waitForFrames(page, 3);
    await page.click("text=Pause");
    await page.waitForSelector('button[aria-pressed="true"]:has-text("Resume")');
    assert.equal(await changesDuring(page, 12), 0);
    await page.click("text=Resume");
    await waitForFrames(page, 5);
});

test("a hidden page draws nothing", async (t) => {
    const server = await startMock(t);
    const page = await openPage(t, browser, server.url);
    await waitForFrames(page, 3);
    const hide = (hidden) => page.evaluate((value) => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
        document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
    await hide(true);
    await changesDuring(page, 3); // what was under way
    const asked = server.requests.length;
    assert.equal(await changesDuring(page, 12), 0);
    assert.equal(server.requests.length, asked);
    await hide(false);
    await waitForFrames(page, 5);
});

test("who asked for less motion gets a figure a second", async (t) => {
    const server = await startMock(t);
    const page = await openPage(t, browser, server.url, { reducedMotion: "reduce" });
    await waitForFrames(page, 2);
    const changes = await changesDuring(page, 30);
    assert.ok(changes >= 1 && changes <= 8, `${changes} changes in 30 frames`);
});

test("a declined token is not asked for again until the reader wants it", async (t) => {
    const server = await startMock(t, { token: "sesame" });
    const page = await openPage(t, browser, server.url, {
        expected: [/status of 401/, /WebSocket connection to/],
    });
    await page.waitForSelector("dialog[open]");
    await page.click("text=Not now");
    await page.waitForSelector('.link[data-state="refused"]');
    await page.click("#tab-trades");
    await page.waitForSelector("#view-trades [role=alert]:visible");
    assert.equal(await page.locator("dialog").count(), 0);
    await page.click("text=Enter the token");
    await page.fill("#token-input", "sesame");
    await page.keyboard.press("Enter");
    await page.waitForSelector(liveSelector);
});

test("a symbol that a server no longer has leaves the page", async (t) => {
    const server = await startMock(t);
    const page = await openPage(t, browser, server.url);
    await page.waitForSelector(".watch tbody tr");
    server.options.empty = true;
    await page.waitForSelector(".panel-market .empty:visible");
    server.options.empty = false;
    await page.waitForSelector(".symbol-price:visible");
});
