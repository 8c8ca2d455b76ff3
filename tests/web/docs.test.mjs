// The API reference in headless Chromium, against the real program when EIDER_BIN names it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, openPage } from "./browser.mjs";
import { startServer } from "./server.mjs";

let browser;

before(async () => {
    browser = await launch();
});

after(() => browser.close());

test("the reference lists every operation of the description", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, `${server.url}docs`);
    await page.waitForSelector(".operation");
    const { paths } = await (await fetch(`${server.url}openapi.json`)).json();
    const count = Object.values(paths).reduce((sum, item) =>
        sum + Object.keys(item).filter((key) => key !== "parameters").length, 0);
    assert.equal(await page.locator(".operation").count(), count);
    assert.ok(await page.locator(".schema-card").count() >= 3);
    const broken = await page.evaluate(() => [...document.querySelectorAll('a[href^="#"]')]
        .map((link) => link.getAttribute("href").slice(1))
        .filter((id) => !document.getElementById(id)));
    assert.deepEqual(broken, []);
});

test("the reference finds a path", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, `${server.url}docs`);
    await page.fill(".docs-side input", "sql");
    await page.waitForFunction(() =>
        [...document.querySelectorAll(".docs-side a .method")]
            .filter((e) => e.checkVisibility()).length === 1);
    await page.click(".docs-side a:visible");
    assert.equal(new URL(page.url()).hash, "#post-api-v1-sql");
});

test("try it sends a request and shows answer and command", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, `${server.url}docs`);
    const trades = page.locator("#get-api-trades");
    await trades.locator("text=Try it").click();
    await trades.locator(".field:has-text('limit') input").fill("2");
    await trades.locator("text=Send").click();
    await trades.locator(".result-note >> text=/^200/").waitFor();
    assert.equal(JSON.parse(await trades.locator(".answer").textContent()).limit, 2);
    assert.match(await trades.locator(".try .snippet code").textContent(), /^curl '.*limit=2'$/);
    const sql = page.locator("#post-api-v1-sql");
    await sql.locator("text=Try it").click();
    await sql.locator("text=Send").click();
    await sql.locator(".result-note >> text=/^200/").waitFor();
    assert.ok(JSON.parse(await sql.locator(".answer").textContent()).row_count >= 1);
});

test("the reference is no wider than 360 pixels, and works in both themes", async (t) => {
    const server = await startServer(t);
    const page = await openPage(t, browser, `${server.url}docs`, {
        viewport: { width: 360, height: 740 }, colorScheme: "light",
    });
    await page.waitForSelector(".operation");
    await page.locator("#post-api-v1-sql >> text=Try it").click();
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${width} pixels wide`);
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "light");
    await page.click('button[aria-label="Switch to the dark theme"]');
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
});
