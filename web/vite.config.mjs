// Builds the dashboard (index.html) and the API reference (docs.html) into web/dist, which
// scripts/embed turns into C. `npx vite web` serves the sources for development and passes API
// requests on to a server at EIDER_URL (default http://127.0.0.1:8000).
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const upstream = process.env.EIDER_URL ?? "http://127.0.0.1:8000";
const apiPaths = ["/api", "/health", "/database", "/metrics", "/openapi.json", "/write"];
const here = (file) => fileURLToPath(new URL(file, import.meta.url));

// The module chooses the theme, so that painting waits for it where the browser can.
const blockRendering = {
    name: "eider-block-rendering",
    transformIndexHtml: {
        order: "post",
        handler: (html) => html.replace('<script type="module"', '$& blocking="render"'),
    },
};

// The licence of a library that is part of a chunk stands at the chunk's end.
const keepLicences = {
    name: "eider-keep-licences",
    generateBundle(_options, bundle) {
        for (const chunk of Object.values(bundle)) {
            if (chunk.type === "chunk" && chunk.moduleIds.some((id) => id.includes("/uplot/"))) {
                const text = readFileSync(here("../node_modules/uplot/LICENSE"), "utf8");
                chunk.code += `/*! uPlot\n${text}*/\n`;
            }
        }
    },
};

export default defineConfig({
    base: "./",
    plugins: [blockRendering, keepLicences],
    build: {
        target: "es2022",
        outDir: "dist",
        emptyOutDir: true,
        assetsInlineLimit: 0, // the page's security policy allows no data: addresses
        modulePreload: { polyfill: false },
        reportCompressedSize: false,
        rollupOptions: { input: [here("index.html"), here("docs.html")] },
    },
    server: {
        host: "127.0.0.1",
        proxy: {
            ...Object.fromEntries(apiPaths.map((path) => [path, upstream])),
            "/ws": { target: upstream, ws: true },
        },
    },
});
