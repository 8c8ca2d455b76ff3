// What stands above every view: name, tabs, health, the state of the live connection, theme.
import { address, getAny } from "./lib/api";
import { h, setAttr, setClass, setText, show, svg } from "./lib/dom";
import { duration, clock } from "./lib/format";
import { Poll } from "./lib/poll";
import { theme, toggleTheme, onThemeChange } from "./lib/theme";
import type { LiveStore } from "./live/store";
import type { LinkState, LiveStream } from "./live/stream";

export function logo(): SVGElement {
    return svg("svg", { class: "logo", viewBox: "0 0 32 32", "aria-hidden": "true" },
        svg("path", {
            class: "logo-body",
            d: "M4 21.5 11 15c2-5.5 6-8.5 10-8.5 4.5 0 7.5 3.5 7.5 8 0 6-4.5 11-11.5 11" +
                "-3.5 0-6-.8-8-2.5z",
        }),
        svg("path", {
            class: "logo-cap",
            d: "M12.5 12.8C15 9 18 7.6 21 7.6c2.9 0 5 1.5 6 3.9-4.5-1-9.5-.5-14.5 1.3z",
        }),
        svg("path", {
            class: "logo-nape",
            d: "M20.5 20c-1.8-2.2-1.6-4.3-.2-6.3 3.2-.6 5.7-.3 7.7.3.3 4-3 6.4-7.5 6z",
        }));
}

export function themeButton(): HTMLElement {
    const button = h("button", { type: "button", class: "button icon", onclick: toggleTheme });
    const describe = () => {
        const other = theme() === "dark" ? "light" : "dark";
        setText(button, other === "light" ? "☀" : "☾");
        setAttr(button, "aria-label", `Switch to the ${other} theme`);
        setAttr(button, "title", `Switch to the ${other} theme`);
    };
    onThemeChange(describe);
    describe();
    return button;
}

/** Healthy or not, and why: the reasons show on hover and focus, and stay on a click. */
export class HealthPill {
    readonly root: HTMLElement;
    private readonly word = h("span", { "aria-live": "polite" });
    private readonly reasons = h("ul");
    private readonly button: HTMLButtonElement;
    private readonly poll = new Poll(() => this.load(), 5000);

    constructor() {
        const pop = h("div", { class: "popover", id: "health-reasons", role: "tooltip" },
            this.reasons);
        this.button = h("button", {
            type: "button", class: "pill unknown", "aria-describedby": "health-reasons",
            "aria-expanded": "false",
            onclick: () => this.pin(!this.root.hasAttribute("data-pinned")),
        }, h("span", { class: "dot" }), h("span", { class: "visually-hidden" }, "Health: "),
        this.word);
        this.root = h("div", { class: "health" }, this.button, pop);
        this.root.addEventListener("keydown", (event) => {
            if (event.key === "Escape") {
                this.pin(false);
            }
        });
        this.set("unknown", "unknown", ["Not asked yet."]);
    }

    start(): void {
        this.poll.start();
    }

    again(): void {
        void this.poll.now();
    }

    private pin(pinned: boolean): void {
        setAttr(this.root, "data-pinned", pinned ? "" : null);
        setAttr(this.button, "aria-expanded", String(pinned));
    }

    private set(tone: string, word: string, reasons: string[]): void {
        setClass(this.button, `pill ${tone}`);
        setText(this.word, word);
        this.reasons.replaceChildren(...reasons.map((reason) => h("li", null, reason)));
    }

    private async load(): Promise<void> {
        try {
            const [health, ready] = await Promise.all([getAny("health"), getAny("health/ready")]);
            this.judge(health.body, ready);
        } catch {
            this.set("unknown", "unknown", ["The server does not answer."]);
        }
    }

    private judge(health: unknown, ready: { status: number; body: unknown }): void {
        const { status, detail } = (health ?? {}) as { status?: string; detail?: string };
        const answer = (ready.body ?? {}) as {
            ready?: boolean;
            detail?: string;
            collectors?: Record<string, boolean>;
            receiving?: Record<string, boolean>;
        };
        const parts = Object.entries(answer.receiving ?? answer.collectors ?? {});
        const quiet = parts.filter(([, on]) => !on).map(([name]) => name.replace("_", " "));
        const reasons = [
            detail ?? (status === "healthy" ? "Writes are accepted, reads are answered." : ""),
            answer.detail && answer.detail !== detail ? answer.detail : "",
            answer.ready === false ? "Not ready for traffic." : "",
            quiet.length > 0 ? `No recent data: ${quiet.join(", ")}.` : "",
        ].filter(Boolean);
        if (status !== "healthy") {
            this.set("bad", status ?? "unhealthy", reasons);
        } else if (answer.ready === false) {
            this.set("warn", "not ready", reasons);
        } else {
            this.set("ok", "healthy", reasons);
        }
    }
}

/** Which of several databases the page shows; not there when the server has only one. */
export function databaseSelect(): HTMLElement {
    const select = h("select", {
        class: "databases", hidden: true, "aria-label": "Database", title: "Database",
    });
    const here = address("").pathname;
    const named = /\/db\/([a-z0-9][a-z0-9_-]*)\/$/.exec(here);
    const root = named ? here.slice(0, named.index + 1) : here;
    const current = named?.[1] ?? "default";

    select.addEventListener("change", () => {
        const path = select.value === "default" ? "" : `db/${select.value}/`;
        location.assign(new URL(root + path + location.hash, location.href));
    });
    const load = async (): Promise<void> => {
        const answer = await getAny("api/v1/databases");
        const list = (answer.body as { databases?: { name: string; state: string }[] } | null)
            ?.databases ?? [];
        select.replaceChildren(...list.map(({ name, state }) =>
            h("option", { value: name, selected: name === current },
                state === "serving" ? name : `${name} (${state})`)));
        show(select, list.length > 1);
    };
    load().catch(() => undefined); // without an answer there is nothing to choose from
    return select;
}

/** Connected, reconnecting with its countdown, and how old what is shown is. */
export class LinkIndicator {
    readonly root: HTMLElement;
    private readonly dot = h("span", { class: "dot" });
    private readonly word = h("span", { class: "link-word" });
    private readonly age = h("span", { class: "link-age" });
    private readonly retry: HTMLButtonElement;
    private readonly spoken = h("span", { class: "visually-hidden", role: "status" });
    private state: LinkState = { kind: "connecting" };

    constructor(
        private readonly store: LiveStore,
        private readonly stream: LiveStream,
    ) {
        this.retry = h("button", {
            type: "button", class: "button small", hidden: true,
            onclick: () => void stream.retryNow(),
        }, "Retry now");
        this.root = h("div", { class: "link", "data-state": "connecting" },
            this.dot, this.word, this.age, this.retry, this.spoken);
        setInterval(() => this.draw(), 250);
    }

    set(state: LinkState): void {
        const before = this.state.kind;
        this.state = state;
        this.root.dataset["state"] = state.kind;
        show(this.retry, ["waiting", "refused", "idle"].includes(state.kind));
        setText(this.retry, state.kind === "refused" ? "Enter the token" : "Retry now");
        if (state.kind !== before && !(before === "waiting" && state.kind === "connecting")) {
            this.announce(state);
        }
        this.draw();
    }

    private announce(state: LinkState): void {
        const words: Record<LinkState["kind"], string> = {
            connecting: "",
            live: "Connected, data is live.",
            stalled: "No new data arrives.",
            waiting: "Connection lost. Reconnecting.",
            refused: "The server wants a token.",
            idle: "Paused while hidden.",
        };
        setText(this.spoken, words[state.kind]);
    }

    draw(): void {
        const state = this.state;
        const age = this.store.ageMs(this.stream.stats.rttMs);
        let word = "";
        switch (state.kind) {
            case "connecting":
                word = "Connecting…";
                break;
            case "live":
                word = "Live";
                break;
            case "stalled":
                word = "No new data";
                break;
            case "waiting": {
                const left = Math.max(0, state.retryAt - performance.now()) / 1000;
                word = `Reconnecting in ${Math.ceil(left)} s`;
                break;
            }
            case "refused":
                word = "Token needed";
                break;
            case "idle":
                word = "Paused";
                break;
        }
        setText(this.word, word);
        setAttr(this.root, "title", state.kind === "waiting" ? state.reason : null);
        setText(this.age, age === null ? "" : age < 1000
            ? `${Math.round(age)} ms old` : `${duration(age / 1000)} old`);
    }
}

export function utcClock(store: LiveStore, stream: LiveStream): HTMLElement {
    const element = h("span", { class: "utc", title: "The server's clock" });
    const draw = () => setText(element,
        `${clock(store.serverNow(stream.stats.rttMs) * 1000)} UTC`);
    setInterval(draw, 250);
    draw();
    return element;
}
