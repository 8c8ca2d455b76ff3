// Test support: headless Chromium, pages that notice what must not happen, and waiting for what
// must.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { defer } from "./defer.mjs";

const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** What a browser says when a server is away on purpose. */
export const outage = [/ERR_CONNECTION_REFUSED/, /WebSocket connection to/, /ERR_EMPTY_RESPONSE/,
    /ERR_CONNECTION_RESET/, /ERR_INCOMPLETE_CHUNKED_ENCODING/, /status of 503/];

export function launch() {
    return chromium.launch({ executablePath: "/usr/bin/chromium", args: flags });
}

/** Notes requests to other origins, errors on the console and uncaught exceptions. */
function watch(page, host, expected) {
    const offences = [];
    const note = (text) => {
        if (!expected.some((pattern) => pattern.test(text))) {
            offences.push(text);
        }
    };
    page.on("request", (request) => {
        const target = new URL(request.url());
        if (target.host !== host && target.protocol !== "blob:") {
            note(`request to another origin: ${request.url()}`);
        }
    });
    page.on("websocket", (socket) => {
        if (new URL(socket.url()).host !== host) {
            note(`WebSocket to another origin: ${socket.url()}`);
        }
    });
    page.on("console", (message) => {
        if (message.type() === "error" || message.type() === "warning") {
            note(`console: ${message.text()}`);
        }
    });
    page.on("pageerror", (error) => note(`exception: ${error.stack}`));
    return offences;
}

/**
 * Opens a page in a context of its own. Offences (see watch) that do not match `expected` fail the
 * test `t` when it ends; without a test nobody is told. `prepare` gets the page while it is empty.
 */
export async function openPage(t, browser, url, options = {}) {
    const { expected = [], prepare, ...contextOptions } = options;
    const context = await browser.newContext({
        viewport: { width: 1440, height: 900 }, ...contextOptions,
    });
    const page = await context.newPage();
    const offences = watch(page, new URL(url).host, expected);
    if (t) {
        defer(t, async () => {
            await context.close();
            assert.deepEqual(offences, []);
        });
    }
    prepare?.(page);
    await page.goto(url);
    return page;
}

export const liveSelector = '.link[data-state="live"]';

/** Waits until `count` different processor figures have been shown. */
export async function waitForFrames(page, count) {
    await page.waitForSelector(liveSelector);
    await page.evaluate((wanted) => new Promise((resolve) => {
        const element = document.querySelector(".panel-host .stat-value");
        const seen = new Set();
        let observer = null;
        const look = () => {
            seen.add(element.textContent);
            if (seen.size >= wanted) {
                observer?.disconnect();
                resolve();
            }
        };
        observer = new MutationObserver(look);
        observer.observe(element, { childList: true, characterData: true, subtree: true });
        look();
    }), count);
}

/**
 * Looks at a chart: in which of its columns of pixels a colour of the theme is, left to right. The
 * line's antialiased edges count, the grid and the text do not.
 */
export function columnsWith(page, selector, token) {
    return page.locator(`${selector} canvas`).first().evaluate((canvas, name) => {
        const style = getComputedStyle(document.documentElement);
        const hex = style.getPropertyValue(`--${name}`).trim();
        const want = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
        const { width, height } = canvas;
        // Read from a copy: Chromium warns when the page's own canvas is read again and again.
        const copy = new OffscreenCanvas(width, height).getContext("2d",
            { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        const pixels = copy.getImageData(0, 0, width, height).data;
        const columns = [];
        for (let x = 0; x < width; x++) {
            let found = false;
            for (let y = 0; y < height && !found; y++) {
                const at = (y * width + x) * 4;
                found = pixels[at + 3] > 120 &&
                    want.every((value, i) => Math.abs(value - pixels[at + i]) < 40);
            }
            columns.push(found);
        }
        return columns;
    }, token);
}
