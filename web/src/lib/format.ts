// Numbers and times as text. All times are UTC; absent values are an en dash; the minus is U+2212,
// which is as wide as a digit.

export const NONE = "–";

type Maybe = number | null | undefined;

function known(value: Maybe): value is number {
    return typeof value === "number" && Number.isFinite(value);
}

const formatters = new Map<number, Intl.NumberFormat>();

/** Fixed decimals with thousands separators. */
export function fixed(value: Maybe, decimals: number): string {
    if (!known(value)) {
        return NONE;
    }
    let formatter = formatters.get(decimals);
    if (!formatter) {
        formatter = new Intl.NumberFormat("en-US", {
            minimumFractionDigits: decimals,
            maximumFractionDigits: decimals,
        });
        formatters.set(decimals, formatter);
    }
    const text = formatter.format(Math.abs(value));
    const isZero = !/[1-9]/.test(text);
    return value < 0 && !isZero ? `−${text}` : text;
}

export function integer(value: Maybe): string {
    return known(value) ? fixed(Math.round(value), 0) : NONE;
}

/** With a sign in front, also for gains. */
export function signed(value: Maybe, decimals: number): string {
    if (!known(value)) {
        return NONE;
    }
    const text = fixed(value, decimals);
    return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/** Decimals that a price is written with, two at least; those that are only noise are left out. */
export function priceDecimals(value: Maybe): number {
    if (!known(value) || value === 0) {
        return 2;
    }
    const most = Math.min(12, Math.max(4, 5 - Math.floor(Math.log10(Math.abs(value)))));
    const own = value.toFixed(most).replace(/0+$/, "").split(".")[1] ?? "";
    return Math.max(2, own.length);
}

export function price(value: Maybe): string {
    return fixed(value, priceDecimals(value));
}

/** Decimals for a column of numbers, so that their points stand below each other. */
export function columnDecimals(values: unknown[]): number {
    const decimals = values.map((v) =>
        (typeof v === "number" && Number.isFinite(v) ? priceDecimals(v) : 0));
    return Math.min(8, Math.max(0, ...decimals));
}

/** Decimals that tell apart the marks of an axis that are `step` apart. */
export function stepDecimals(step: number): number {
    return (step.toFixed(12).replace(/0+$/, "").split(".")[1] ?? "").length;
}

export function percent(value: Maybe, decimals = 1): string {
    return known(value) ? `${fixed(value, decimals)} %` : NONE;
}

const steps: [number, string][] = [
    [1e12, "T"],
    [1e9, "B"],
    [1e6, "M"],
    [1e3, "k"],
];

/** Four significant places at most: 999, 12.3k, 4.57M. */
export function compact(value: Maybe): string {
    if (!known(value)) {
        return NONE;
    }
    const size = Math.abs(value);
    for (const [step, suffix] of steps) {
        if (size >= step) {
            const whole = size / step;
            return `${fixed(value / step, whole >= 100 ? 0 : whole >= 10 ? 1 : 2)}${suffix}`;
        }
    }
    return Number.isInteger(value) ? fixed(value, 0) : fixed(value, size >= 100 ? 0 : 2);
}

export function bytes(value: Maybe): string {
    if (!known(value)) {
        return NONE;
    }
    let scaled = Math.abs(value);
    for (const unit of ["B", "KiB", "MiB", "GiB", "TiB"]) {
        if (scaled < 1024 || unit === "TiB") {
            const decimals = unit === "B" || scaled >= 100 ? 0 : 1;
            return `${fixed(value < 0 ? -scaled : scaled, decimals)} ${unit}`;
        }
        scaled /= 1024;
    }
    return NONE;
}

/** Milliseconds with the precision that matters. */
export function millis(value: Maybe): string {
    if (!known(value)) {
        return NONE;
    }
    const size = Math.abs(value);
    return `${fixed(value, size >= 100 ? 0 : size >= 10 ? 1 : 2)} ms`;
}

/** A span of seconds: 850 ms, 12.3 s, 4 m 05 s, 3 h 12 m, 17 d 4 h. */
export function duration(seconds: Maybe): string {
    if (!known(seconds)) {
        return NONE;
    }
    const s = Math.max(0, seconds);
    if (s < 1) {
        return `${Math.round(s * 1000)} ms`;
    }
    if (s < 60) {
        return `${fixed(s, 1)} s`;
    }
    const two = (n: number) => String(Math.floor(n)).padStart(2, "0");
    if (s < 3600) {
        return `${Math.floor(s / 60)} m ${two(s % 60)} s`;
    }
    if (s < 86400) {
        return `${Math.floor(s / 3600)} h ${two((s % 3600) / 60)} m`;
    }
    return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** Milliseconds since 1970 of what the API calls a time: ISO 8601, UTC when it has no zone. */
export function parseTime(value: unknown): number | null {
    if (typeof value !== "string") {
        return null;
    }
    const zoned = /(?:Z|[+-]\d\d:?\d\d)$/i.test(value) ? value : `${value}Z`;
    const ms = Date.parse(zoned.replace(" ", "T"));
    return Number.isNaN(ms) ? null : ms;
}

const pad = (n: number, width = 2) => String(n).padStart(width, "0");

export function clock(ms: Maybe): string {
    if (!known(ms)) {
        return NONE;
    }
    const d = new Date(ms);
    return `${pad(d.getUTCHours())}:${pad(d.getUTCMinutes())}:${pad(d.getUTCSeconds())}`;
}

export function clockMillis(ms: Maybe): string {
    return known(ms) ? `${clock(ms)}.${pad(new Date(ms).getUTCMilliseconds(), 3)}` : NONE;
}

export function date(ms: Maybe): string {
    return known(ms) ? new Date(ms).toISOString().slice(0, 10) : NONE;
}

export function dateTime(ms: Maybe): string {
    return known(ms) ? `${date(ms)} ${clock(ms)}` : NONE;
}

/** One cell of a CSV file (RFC 4180). */
export function csvCell(value: unknown): string {
    if (value === null || value === undefined) {
        return "";
    }
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csv(header: string[], rows: unknown[][]): string {
    return [header, ...rows].map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n";
}
