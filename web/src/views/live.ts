// The live view: all panels that the stream feeds, drawn when a frame has come, ten times a second
// at most, and never while nobody looks.
import { h, setAttr, setText, show } from "../lib/dom";
import { segmented, type View } from "../lib/ui";
import { WINDOWS, type LiveStore } from "../live/store";
import type { LiveStream } from "../live/stream";
import { ExecutionPanel } from "./execution";
import { HostPanel } from "./host";
import { MarketPanel } from "./market";
import { StrategiesPanel } from "./strategies";
import { TapePanel } from "./tape";

export interface RenderContext {
    from: number; // Unix seconds shown
    to: number;
    slow: boolean; // true once a second: time for lists and their order
    charts: boolean; // true when the time shown has moved by some part of a pixel
}

export interface LivePanel {
    root: HTMLElement;
    show(): void;
    hide(): void;
    render(store: LiveStore, context: RenderContext): void;
}

const FRAME_MS = 90; // ten a second, with room for jitter
const REDUCED_MS = 1000; // for those who asked for less motion
const SLOW_MS = 1000;
const CHART_STEPS = 1200; // redraws while a point crosses a chart: more than that cannot be seen

const windowLabels: Record<number, string> = { 30: "30 s", 60: "1 min", 300: "5 min" };

export class LiveView implements View {
    readonly id = "live";
    readonly label = "Live";
    readonly root: HTMLElement;
    private readonly panels: LivePanel[] = [
        new MarketPanel(), new HostPanel(), new StrategiesPanel(), new ExecutionPanel(),
        new TapePanel(),
    ];
    private readonly reduced = matchMedia("(prefers-reduced-motion: reduce)");
    private readonly pauseButton = h("button", {
        type: "button", class: "button", "aria-pressed": "false",
        onclick: () => this.togglePause(),
    }, "Pause");
    private readonly waiting = h("p", { class: "waiting" }, "Waiting for the first frame…");
    private visible = false;
    private paused = false;
    private scheduled = false;
    private renderedAt = 0;
    private slowAt = 0;
    private chartsAt = 0;

    constructor(
        private readonly store: LiveStore,
        private readonly stream: LiveStream,
    ) {
        const windows = WINDOWS.map((s): [string, string] =>
            [String(s), windowLabels[s] ?? `${s} s`]);
        this.root = h("div", { class: "live" },
            h("div", { class: "toolbar" },
                segmented("Time shown", windows, String(store.windowS), (value) => {
                    store.windowS = Number(value);
                    this.draw(true);
                }),
                this.pauseButton, this.waiting),
            h("div", { class: "live-grid" }, this.panels.map((p) => p.root)));
        // Without frames time goes on: gaps must be seen to grow.
        setInterval(() => {
            if (performance.now() - this.renderedAt > SLOW_MS * 0.9) {
                this.frameCame();
            }
        }, SLOW_MS);
        document.addEventListener("visibilitychange", () => this.frameCame());
    }

    show(): void {
        this.visible = true;
        for (const panel of this.panels) {
            panel.show();
        }
        this.draw(true);
    }

    hide(): void {
        this.visible = false;
        for (const panel of this.panels) {
            panel.hide();
        }
    }

    /** Draws soon, if there is somebody to see it. */
    frameCame(): void {
        if (this.scheduled || this.paused || !this.visible || document.hidden) {
            return;
        }
        const least = this.reduced.matches ? REDUCED_MS : FRAME_MS;
        const wait = Math.max(0, least - (performance.now() - this.renderedAt));
        this.scheduled = true;
        setTimeout(() => requestAnimationFrame(() => {
            this.scheduled = false;
            if (this.visible && !this.paused) {
                this.draw(false);
            }
        }), wait);
    }

    private togglePause(): void {
        this.paused = !this.paused;
        setText(this.pauseButton, this.paused ? "Resume" : "Pause");
        setAttr(this.pauseButton, "aria-pressed", String(this.paused));
        if (!this.paused) {
            this.draw(true);
        }
    }

    private draw(full: boolean): void {
        const now = performance.now();
        const slow = full || now - this.slowAt >= SLOW_MS - 50;
        if (slow) {
            this.slowAt = now;
        }
        const charts = slow || now - this.chartsAt >= (this.store.windowS * 1000) / CHART_STEPS;
        if (charts) {
            this.chartsAt = now;
        }
        this.renderedAt = now;
        show(this.waiting, this.store.snapshot === null);
        const to = this.store.serverNow(this.stream.stats.rttMs);
        const context = { from: to - this.store.windowS, to, slow, charts };
        for (const panel of this.panels) {
            panel.render(this.store, context);
        }
    }
}
