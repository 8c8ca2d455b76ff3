// Test support: headless Chromium, pages that notice what must not happen, and waiting for what must.
import { chromium } from "playwright-core";

const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export function launch() {
    return chromium.launch({ executablePath: "/usr/bin/chromium", args: flags });
}

/**
 * Opens a page in a context of its own. `offences` collects requests to other origins, errors on the
 * console and uncaught exceptions; lines that match `expected` are not offences.
 */
export async function openPage(browser, url, options = {}) {
    const { expected = [], ...contextOptions } = options;
    const context = await browser.newContext({
        viewport: { width: 1440, height: 900 }, ...contextOptions,
    });
    const page = await context.newPage();
    const offences = [];
    const note = (text) => {
        if (!expected.some((pattern) => pattern.test(text))) {
            offences.push(text);
        }
    };
    const { host } = new URL(url);
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
    await page.goto(url);
    return { page, context, offences };
}

/** Waits until the stream is live. */
export async function waitForLive(page) {
    await page.waitForSelector('.link[data-state="live"]');
}

/** Waits until `count` different processor figures have been shown. */
export async function waitForFrames(page, count) {
    await waitForLive(page);
    await page.evaluate((wanted) => new Promise((resolve) => {
        const element = document.querySelector(".panel-host .stat-value");
        const seen = new Set();
        const look = () => {
            seen.add(element.textContent);
            if (seen.size >= wanted) {
                observer.disconnect();
                resolve();
            }
        };
        const observer = new MutationObserver(look);
        observer.observe(element, { childList: true, characterData: true, subtree: true });
        look();
    }), count);
}
