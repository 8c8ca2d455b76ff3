// Takes the pictures of docs/images: node tests/web/shoot.mjs [URL] [FOLDER]. Without a URL, or
// with an empty one, the mock server is used; it is always used for what a demo has nothing of.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { launch, openPage, waitForFrames } from "./browser.mjs";
import { MockServer } from "./mock-server.mjs";

const [url, folder = "docs/images"] = process.argv.slice(2);
const mock = await new MockServer().start();
const address = url || mock.url;
const browser = await launch();

const pictures = [
    { name: "dashboard-dark", scheme: "dark", width: 1440, height: 1000 },
    { name: "dashboard-light", scheme: "light", width: 1440, height: 1000 },
    { name: "dashboard-narrow", scheme: "dark", width: 360, height: 780 },
    { name: "trades", scheme: "dark", width: 1280, height: 800, view: "trades" },
    { name: "spend", scheme: "dark", width: 1440, height: 1240, view: "spend", mock: true },
    { name: "history", scheme: "light", width: 1280, height: 900, view: "history" },
    { name: "sql", scheme: "dark", width: 1280, height: 800, view: "sql" },
    { name: "status", scheme: "dark", width: 1280, height: 900, view: "status" },
    { name: "docs", scheme: "dark", width: 1280, height: 900, path: "docs" },
];

mkdirSync(folder, { recursive: true });
for (const picture of pictures) {
    const server = picture.mock ? mock.url : address;
    const page = await openPage(null, browser, new URL(picture.path ?? "", server).href, {
        viewport: { width: picture.width, height: picture.height }, colorScheme: picture.scheme,
    });
    if (picture.path) {
        await page.waitForSelector(".operation");
    } else {
        await waitForFrames(page, 25);
        if (picture.view) {
            await page.click(`#tab-${picture.view}`);
        }
        if (picture.view === "sql") {
            await page.click('button:text-is("Run")');
            await page.waitForSelector(".sql-main tbody tr");
        } else if (picture.view === "spend") {
            await page.waitForSelector(".panel-events tbody tr");
            await page.waitForSelector(".panel-credits tbody tr");
        } else if (picture.view) {
            await page.waitForSelector(`#view-${picture.view} tbody tr`);
        }
    }
    await page.screenshot({ path: join(folder, `${picture.name}.png`) });
    await page.context().close();
}
await browser.close();
await mock.stop();
