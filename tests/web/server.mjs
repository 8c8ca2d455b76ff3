// Test support: a server for the page. With EIDER_BIN the real program with demo data, a folder of
// its own and a free port; otherwise the mock.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defer } from "./defer.mjs";
import { MockServer } from "./mock-server.mjs";

const READY_MS = 60000;
const EXIT_MS = 30000;

async function freePort() {
    const server = createServer();
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address();
    await new Promise((resolve) => server.close(resolve));
    return port;
}

class RealServer {
    constructor(binary, options) {
        this.binary = binary;
        this.options = { demo: true, ...options };
        this.folder = mkdtempSync(join(tmpdir(), "eider-web-"));
        this.port = 0;
    }

    get url() {
        return `http://127.0.0.1:${this.port}/`;
    }

    async start() {
        this.port ||= await freePort();
        const args = ["serve", "--host", "127.0.0.1", "--port", String(this.port),
            "--data-dir", join(this.folder, "data")];
        if (this.options.demo) {
            args.push("--demo");
        }
        const env = { ...process.env };
        if (this.options.token) {
            env.EIDER_TOKEN = this.options.token;
        }
        this.child = spawn(this.binary, args, { cwd: this.folder, env });
        await this.ready();
        return this;
    }

    /** The program says when it is ready; all that it says is kept for the message of a failure. */
    ready() {
        return new Promise((resolve, reject) => {
            let said = "";
            const fail = (why) => reject(new Error(`${this.binary}: ${why}\n${said}`));
            const timer = setTimeout(() => fail("not ready in time"), READY_MS);
            const listen = (chunk) => {
                said += chunk;
                if (/is ready on/.test(said)) {
                    clearTimeout(timer);
                    resolve();
                }
            };
            this.child.stdout.on("data", listen);
            this.child.stderr.on("data", listen);
            this.child.once("error", (error) => fail(error.message));
            this.child.once("exit", (code) => {
                clearTimeout(timer);
                fail(`ended with ${code}`);
            });
        });
    }

    async stop() {
        const { child } = this;
        if (child.exitCode !== null || child.signalCode !== null) {
            return;
        }
        const ended = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGTERM");
        const timer = setTimeout(() => child.kill("SIGKILL"), EXIT_MS);
        await ended;
        clearTimeout(timer);
    }

    cleanUp() {
        rmSync(this.folder, { recursive: true, force: true });
    }
}

/** Starts the mock, with the page as its sources are now. */
export async function startMock(t, options = {}) {
    execFileSync(new URL("../../scripts/build-web", import.meta.url).pathname);
    const server = await new MockServer(options).start();
    defer(t, () => server.stop());
    return server;
}

/** Starts the real server if there is one; options: demo, token. */
export async function startServer(t, options = {}) {
    const binary = process.env.EIDER_BIN;
    if (!binary) {
        return startMock(t, { ...options, empty: options.demo === false });
    }
    const server = new RealServer(binary, options);
    await server.start();
    defer(t, async () => {
        await server.stop();
        server.cleanUp();
    });
    return server;
}
