// A bounded table of points in time: one time column (Unix seconds, rising) and named value columns
// of the same length, null where there is nothing. The oldest points go when it is full.

export type Column = (number | null)[];

export class Frames {
    readonly times: number[] = [];
    private readonly columns = new Map<string, Column>();

    constructor(
        private readonly pointsMax: number,
        private readonly columnsMax = 16,
    ) {}

    get length(): number {
        return this.times.length;
    }

    names(): string[] {
        return [...this.columns.keys()];
    }

    /** Adds a point; columns that are not named get null. A time that does not rise is dropped. */
    push(time: number, values: Record<string, number | null | undefined>): void {
        const last = this.times.at(-1);
        if (last !== undefined && time <= last) {
            return;
        }
        for (const name of Object.keys(values)) {
            if (!this.columns.has(name) && this.columns.size < this.columnsMax) {
                this.columns.set(name, new Array<number | null>(this.times.length).fill(null));
            }
        }
        this.times.push(time);
        for (const [name, column] of this.columns) {
            const value = values[name];
            column.push(typeof value === "number" && Number.isFinite(value) ? value : null);
        }
        this.trim();
    }

    /** A point without values: lines drawn through it break. */
    gap(time: number): void {
        this.push(time, {});
    }

    clear(): void {
        this.times.length = 0;
        this.columns.clear();
    }

    /** Puts older points in front as far as there is room; others are dropped. */
    prepend(times: number[], values: Record<string, Column>): void {
        const first = this.times[0] ?? Infinity;
        let end = times.length;
        while (end > 0 && (times[end - 1] ?? 0) >= first) {
            end--;
        }
        const begin = Math.max(0, end - (this.pointsMax - this.times.length));
        if (begin >= end) {
            return;
        }
        const width = end - begin;
        for (const name of Object.keys(values)) {
            if (!this.columns.has(name) && this.columns.size < this.columnsMax) {
                this.columns.set(name, new Array<number | null>(this.times.length).fill(null));
            }
        }
        this.times.unshift(...times.slice(begin, end));
        for (const [name, column] of this.columns) {
            const older = values[name]?.slice(begin, end) ?? new Array<null>(width).fill(null);
            column.unshift(...older);
        }
    }

    /** Cutting at twice the bound keeps a push cheap on average. */
    private trim(): void {
        if (this.times.length < this.pointsMax * 2) {
            return;
        }
        const excess = this.times.length - this.pointsMax;
        this.times.splice(0, excess);
        for (const column of this.columns.values()) {
            column.splice(0, excess);
        }
    }

    /** Index of the first point at or after a time. */
    indexAt(time: number): number {
        let low = 0;
        let high = this.times.length;
        while (low < high) {
            const middle = (low + high) >>> 1;
            if ((this.times[middle] ?? 0) < time) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

    /** Times and the named columns from a time on, and the point before it. */
    view(from: number, names: string[]): [number[], ...Column[]] {
        const start = Math.max(0, this.indexAt(from) - 1, this.times.length - this.pointsMax);
        const columns = names.map((name): Column =>
            this.columns.get(name)?.slice(start) ??
            new Array<null>(this.times.length - start).fill(null));
        return [this.times.slice(start), ...columns];
    }

    /** The first value of a column at or after a time. */
    firstSince(name: string, time: number): number | null {
        const column = this.columns.get(name);
        for (let i = this.indexAt(time); column && i < column.length; i++) {
            const value = column[i];
            if (value !== null && value !== undefined) {
                return value;
            }
        }
        return null;
    }

    last(name: string): number | null {
        return this.columns.get(name)?.at(-1) ?? null;
    }
}

/**
 * What was added to a running total in each second: [seconds, amounts]. What came between two
 * points that are further apart is spread evenly over the seconds between them. A total that falls
 * below half has restarted at zero; a smaller fall is a correction and adds nothing. A gap (null)
 * adds nothing either: what was added in it belongs to no second.
 */
export function perSecond(times: number[], totals: Column): [number[], Column] {
    const amounts = new Map<number, number>();
    let before: { total: number; second: number } | null = null;
    times.forEach((time, i) => {
        const total = totals[i] ?? null;
        if (total === null) {
            before = null;
            return;
        }
        const second = Math.floor(time);
        const first: number = before ? Math.min(second, before.second + 1) : second;
        const old = before?.total ?? total;
        const added = total < old / 2 ? total : Math.max(0, total - old);
        for (let s = first; s <= second; s++) {
            amounts.set(s, (amounts.get(s) ?? 0) + added / (second - first + 1));
        }
        before = { total, second };
    });
    return [[...amounts.keys()], [...amounts.values()]];
}
