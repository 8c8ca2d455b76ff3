// Line charts on uPlot: colours from the theme, a legend in HTML with the value under the cursor or
// the newest one, redrawn on resize and on a change of theme.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { h, setText } from "./dom";
import { clock, compact, date } from "./format";
import { stack } from "./stack";
import { onThemeChange, token } from "./theme";

export interface ChartSeries {
    label: string;
    color: string; // a token of the theme: "s1"
    format: (value: number | null) => string;
    width?: number;
    dash?: boolean;
    fill?: boolean; // shade below the line
    bars?: boolean;
    hidden?: boolean; // not in the legend
    step?: boolean; // holds its value until the next
}

export interface ChartOptions {
    label: string; // what a screen reader says
    height: number;
    series: ChartSeries[];
    yFormat?: (value: number, step: number) => string; // step: between two marks
    yRange?: [number, number]; // fixed; otherwise what is seen, with a margin
    yZero?: boolean; // the range holds 0
    bands?: { series: [number, number]; color: string }[]; // indexes as in uPlot: 1 is the first
    sync?: string; // charts of one key share the cursor
    zoom?: boolean; // drag to zoom, double click for all
    legend?: boolean;
    spanGaps?: boolean;
    stacked?: boolean; // each series stands on those behind it; the legend shows it alone
}

const AXIS_FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';

const PADDING = 8;
const LABEL_WIDTH = 52;

/** Room for a flat line, and a margin around any other. */
export function padRange(min: number | null, max: number | null, zero: boolean): [number, number] {
    if (min === null || max === null || !Number.isFinite(min) || !Number.isFinite(max)) {
        return [0, 1];
    }
    const low = zero ? Math.min(0, min) : min;
    const high = zero ? Math.max(0, max) : max;
    const span = high - low;
    const margin = span > 0 ? span * 0.08 : Math.max(Math.abs(high) * 0.001, 0.01);
    return [zero && low === 0 ? 0 : low - margin, zero && high === 0 ? 0 : high + margin];
}

/** Times in UTC; a day's first mark has its date below. A label without room is left out. */
function timeLabels(u: uPlot, splits: number[], _axis: number, _space: number, incr: number) {
    const right = u.bbox.width / uPlot.pxRatio + PADDING;
    let day = "";
    return splits.map((split) => {
        const ms = split * 1000;
        if (u.valToPos(split, "x") + LABEL_WIDTH / 2 > right) {
            return "";
        }
        const time = incr < 60 ? clock(ms) : clock(ms).slice(0, 5);
        const isNewDay = date(ms) !== day && (day !== "" || incr >= 3600);
        day = date(ms);
        if (incr >= 86400) {
            return day.slice(5);
        }
        return isNewDay && incr >= 3600 ? `${time}\n${day.slice(5)}` : time;
    });
}

export class Chart {
    readonly root: HTMLElement;
    private readonly host = h("div", { class: "chart-canvas", role: "img" });
    private readonly legend = h("div", { class: "legend" });
    private values: HTMLElement[] = [];
    private plot: uPlot | null = null;
    private data: uPlot.AlignedData = [[]];
    private drawn: uPlot.AlignedData = [[]]; // the same, or stacked
    private range: [number, number] | null = null;
    private width = 0;
    private shown = "";
    private readonly observer = new ResizeObserver(() => this.resize());
    private readonly forgetTheme: () => void;

    constructor(private options: ChartOptions) {
        this.host.style.height = `${options.height}px`;
        this.host.setAttribute("aria-label", options.label);
        this.root = h("div", { class: "chart" }, options.legend === false ? null : this.legend,
            this.host);
        this.buildLegend();
        this.observer.observe(this.host);
        this.forgetTheme = onThemeChange(() => this.rebuild());
    }

    /** For charts that go before the page does. */
    destroy(): void {
        this.observer.disconnect();
        this.forgetTheme();
        this.plot?.destroy();
        this.plot = null;
        this.root.remove();
    }

    /** Replaces the series when their names changed; the data must be set after it. */
    setSeries(series: ChartSeries[]): void {
        const names = series.map((s) => `${s.label} ${s.color}`).join("|");
        if (names !== this.shown) {
            this.options = { ...this.options, series };
            this.data = this.drawn = [[]];
            this.buildLegend();
            this.rebuild();
        }
    }

    /** Draws columns (times first) and, if given, exactly this range of time. */
    setData(data: uPlot.AlignedData, range: [number, number] | null = null): void {
        this.data = data;
        this.drawn = this.options.stacked ? stack(data) : data;
        this.range = range;
        if (this.width === 0) {
            this.resize();
        }
        const plot = this.plot;
        if (!plot) {
            return;
        }
        plot.batch(() => {
            plot.setData(this.drawn, range === null);
            if (range) {
                plot.setScale("x", { min: range[0], max: range[1] });
            }
        });
        this.updateLegend();
    }

    private buildLegend(): void {
        const { series } = this.options;
        this.shown = series.map((s) => `${s.label} ${s.color}`).join("|");
        this.values = series.map(() => h("span", { class: "legend-value" }));
        this.legend.replaceChildren(...series.flatMap((s, i) => {
            if (s.hidden) {
                return [];
            }
            const swatch = h("span", { class: s.dash ? "swatch dashed" : "swatch" });
            swatch.style.setProperty("--swatch", `var(--${s.color})`);
            return [h("span", { class: "legend-item" }, swatch, s.label, this.values[i])];
        }));
    }

    private updateLegend(): void {
        const at = this.plot?.cursor.idx ?? null;
        this.options.series.forEach((series, i) => {
            const column = this.data[i + 1];
            const value = column ? column[at ?? column.length - 1] : null;
            const element = this.values[i];
            if (element && !series.hidden) {
                setText(element, series.format(typeof value === "number" ? value : null));
            }
        });
    }

    private resize(): void {
        const width = Math.floor(this.host.clientWidth);
        if (width === 0 || width === this.width) {
            return;
        }
        this.width = width;
        if (this.plot) {
            this.plot.setSize({ width, height: this.options.height });
        } else {
            this.rebuild();
        }
    }

    private rebuild(): void {
        this.plot?.destroy();
        this.plot = null;
        if (this.width === 0) {
            return; // not on the page yet
        }
        this.plot = new uPlot(this.uplotOptions(), this.drawn, this.host);
        this.setData(this.data, this.range);
    }

    private uplotOptions(): uPlot.Options {
        const { series, bands, yRange, yZero, zoom, sync, height } = this.options;
        const cursor: uPlot.Cursor = {
            y: false,
            points: { size: 5, width: 1 },
            drag: { x: zoom === true, y: false, setScale: zoom === true },
        };
        if (sync) {
            cursor.sync = { key: sync, setSeries: false };
        }
        return {
            width: this.width,
            height,
            pxAlign: 1,
            padding: [PADDING, PADDING, 0, 0],
            legend: { show: false },
            cursor,
            series: [{}, ...series.map((s) => this.uplotSeries(s))],
            bands: (bands ?? []).map((band) => ({
                series: band.series,
                fill: token(band.color),
            })),
            scales: {
                x: { time: false },
                y: { range: (_u, min, max) => yRange ?? padRange(min, max, yZero === true) },
            },
            axes: this.axes(),
            hooks: { setCursor: [() => this.updateLegend()] },
        };
    }

    private uplotSeries(s: ChartSeries): uPlot.Series {
        const stroke = token(s.color);
        const result: uPlot.Series = {
            label: s.label,
            stroke: s.hidden ? "transparent" : stroke,
            width: s.width ?? 1.5,
            points: { show: false },
            spanGaps: this.options.spanGaps === true,
        };
        if (s.dash) {
            result.dash = [5, 3];
        }
        if (s.bars) {
            const build = uPlot.paths.bars?.({ size: [0.7, 24], align: 1 });
            if (build) {
                result.paths = build;
            }
            result.fill = stroke;
            result.width = 0;
        } else if (s.step) {
            const build = uPlot.paths.stepped?.({ align: 1 });
            if (build) {
                result.paths = build;
            }
        }
        if (s.fill) {
            result.fill = token(`${s.color}-fill`);
        }
        return result;
    }

    private axes(): uPlot.Axis[] {
        const grid = { stroke: token("grid"), width: 1 };
        const common = { stroke: token("muted"), font: AXIS_FONT, grid, ticks: { show: false } };
        const format = this.options.yFormat ?? compact;
        return [
            {
                ...common, gap: 4, space: 70, values: timeLabels, incrs: TIME_STEPS,
                size: (_u, values) => (values?.some((v) => v.includes("\n")) ? 36 : 24),
            },
            {
                ...common,
                gap: 6,
                space: this.options.height < 120 ? 20 : 32,
                size: (_u, values) =>
                    Math.max(40, 10 + 6.6 * Math.max(0, ...(values ?? []).map((v) => v.length))),
                values: (_u, splits, _axis, _space, step) => splits.map((v) => format(v, step)),
            },
        ];
    }
}

const TIME_STEPS = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
    172800, 604800, 1209600, 2592000,
];
