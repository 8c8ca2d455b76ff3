// What the page remembers of the live stream: the newest snapshot, and bounded histories of what is
// drawn. Frames go in, views read.
import { priceDecimals } from "../lib/format";
import { Frames } from "./frames";
import { readSnapshot, type Quote, type Snapshot } from "./shapes";

export const WINDOWS = [30, 60, 300]; // seconds
const POINTS_MAX = 3000; // the longest window at 10 Hz
const COARSE_MAX = 300; // the same at 1 Hz
const FINE_SYMBOLS_MAX = 32;
const SYMBOLS_MAX = 2000;
const STRATEGIES_MAX = 8; // lines; the table has them all
const GAP_S = 1.5; // without frames for so long, lines break

/** One symbol's history: every second for all, every frame for those looked at lately. */
export class SymbolTrack {
    readonly coarse = new Frames(COARSE_MAX, 1);
    fine: Frames | null = null;
    quote: Quote;
    decimals = 2; // that its prices are written with
    wantedAt = 0;
    private second = 0;

    constructor(
        readonly name: string,
        quote: Quote,
    ) {
        this.quote = quote;
    }

    take(time: number, quote: Quote, gapAt: number | null): void {
        this.quote = quote;
        this.decimals = Math.max(this.decimals, priceDecimals(quote.last), priceDecimals(quote.bid),
            priceDecimals(quote.ask));
        if (this.fine) {
            if (gapAt !== null) {
                this.fine.gap(gapAt);
            }
            const { last, bid, ask, spread, volume } = quote;
            this.fine.push(time, { last, bid, ask, spread, volume });
        }
        if (Math.floor(time) !== this.second) {
            this.second = Math.floor(time);
            if (gapAt !== null) {
                this.coarse.gap(gapAt);
            }
            this.coarse.push(time, { last: quote.last });
        }
    }

    /** In percent with two decimals, since the first price in the window. */
    change(from: number): number | null {
        const first = this.coarse.firstSince("last", from);
        const last = this.quote.last;
        return first && last !== null ? Math.round((last / first - 1) * 10000) / 100 : null;
    }
}

export class LiveStore {
    readonly host = new Frames(POINTS_MAX);
    readonly strategies = new Frames(POINTS_MAX, STRATEGIES_MAX);
    readonly execution = new Frames(POINTS_MAX);
    readonly symbols = new Map<string, SymbolTrack>();
    snapshot: Snapshot | null = null;
    windowS = 60;
    symbolsSeen = 0;
    private lastTime = 0;
    private offsetS = Infinity; // smallest of (our clock - server's) seen
    private wanted = 0;

    /** Takes one frame in. */
    frame(json: unknown): void {
        const nowS = Date.now() / 1000;
        const snapshot = readSnapshot(json, nowS);
        const time = snapshot.serverTime;
        const gapAt = this.lastTime > 0 && time - this.lastTime > GAP_S
            ? this.lastTime + 0.001 : null;
        if (time < this.lastTime - 1) {
            this.forget(); // the server's clock was set back
        }
        this.snapshot = snapshot;
        this.lastTime = time;
        this.offsetS = Math.min(this.offsetS, nowS - time);
        this.takeHost(time, gapAt);
        this.takeMarket(time, gapAt);
        this.takeStrategies(time, gapAt);
        this.takeExecution(time, gapAt);
    }

    /** A new connection may lead to another server, with another clock. */
    reconnected(): void {
        this.offsetS = Infinity;
    }

    /** The server's clock, as far as it can be known here, in Unix seconds. */
    serverNow(rttMs: number | null): number {
        const skew = Number.isFinite(this.offsetS) ? this.offsetS - (rttMs ?? 0) / 2000 : 0;
        return Date.now() / 1000 - skew;
    }

    /** How old what is shown is, in ms. */
    ageMs(rttMs: number | null): number | null {
        return this.lastTime > 0
            ? Math.max(0, (this.serverNow(rttMs) - this.lastTime) * 1000) : null;
    }

    /** A symbol for a chart: from now on it is kept in detail, at the cost of the least wanted. */
    want(name: string): SymbolTrack | null {
        const track = this.symbols.get(name);
        if (!track) {
            return null;
        }
        track.wantedAt = ++this.wanted;
        this.refine(track);
        return track;
    }

    private refine(track: SymbolTrack): void {
        if (track.fine) {
            return;
        }
        const fine = [...this.symbols.values()].filter((other) => other.fine);
        if (fine.length >= FINE_SYMBOLS_MAX) {
            fine.sort((a, b) => a.wantedAt - b.wantedAt);
            const least = fine[0];
            if (least) {
                least.fine = null;
            }
        }
        track.fine = new Frames(POINTS_MAX);
        const [times, last] = track.coarse.view(0, ["last"]);
        track.fine.prepend(times, { last: last ?? [] });
    }

    private takeHost(time: number, gapAt: number | null): void {
        const system = this.snapshot?.system;
        if (!system) {
            return;
        }
        if (gapAt !== null) {
            this.host.gap(gapAt);
        }
        this.host.push(time, { cpu: system.cpu, memory: system.memory, disk: system.disk });
    }

    private takeMarket(time: number, gapAt: number | null): void {
        const symbols = this.snapshot?.symbols ?? new Map<string, Quote>();
        this.symbolsSeen = symbols.size;
        for (const [name, quote] of symbols) {
            let track = this.symbols.get(name);
            if (!track) {
                if (this.symbols.size >= SYMBOLS_MAX) {
                    continue;
                }
                track = new SymbolTrack(name, quote);
                this.symbols.set(name, track);
                if (this.symbols.size <= FINE_SYMBOLS_MAX) {
                    this.refine(track);
                }
            }
            track.take(time, quote, gapAt);
        }
        if (this.symbols.size > symbols.size) {
            for (const name of this.symbols.keys()) {
                if (!symbols.has(name)) {
                    this.symbols.delete(name);
                }
            }
        }
    }

    private takeStrategies(time: number, gapAt: number | null): void {
        const strategies = this.snapshot?.strategies;
        if (!strategies || strategies.size === 0) {
            return;
        }
        if (gapAt !== null) {
            this.strategies.gap(gapAt);
        }
        const values: Record<string, number | null> = {};
        for (const [name, strategy] of strategies) {
            values[name] = strategy.pnl;
        }
        this.strategies.push(time, values);
    }

    private takeExecution(time: number, gapAt: number | null): void {
        const execution = this.snapshot?.execution;
        if (!execution) {
            return;
        }
        if (gapAt !== null) {
            this.execution.gap(gapAt);
        }
        const { latency, p50, p95, p99 } = execution;
        const fillRate = execution.fillRate === null ? null : execution.fillRate * 100;
        this.execution.push(time, { fillRate, latency, p50, p95, p99 });
    }

    private forget(): void {
        this.symbols.clear();
        this.lastTime = 0;
        for (const frames of [this.host, this.strategies, this.execution]) {
            frames.clear();
        }
    }
}
