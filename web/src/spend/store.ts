// What the stream last said of spending, for those panels that are looked at.
import { spendFrame, type Counter, type SpendFrame } from "./shapes";

export class SpendStore {
    frame: SpendFrame | null = null;
    private readonly counters = new Map<string, Counter>();

    /** Takes the part of a frame; false when it has none. */
    take(json: unknown): boolean {
        const frame = spendFrame(json);
        if (!frame) {
            return false;
        }
        this.frame = frame;
        this.counters.clear();
        for (const counter of frame.counters) {
            this.counters.set(`${counter.budget}\n${counter.instance}`, counter);
        }
        return true;
    }

    /** The stream ended or is not asked for any more: what it said grows old. */
    forget(): void {
        this.frame = null;
        this.counters.clear();
    }

    /** A counter as it is now: the stream's figures over those of an answer. */
    newest(counter: Counter): Counter {
        const live = this.counters.get(`${counter.budget}\n${counter.instance}`);
        return live ? {
            ...counter, used: live.used, reserved: live.reserved, hard: live.hard,
            soft: live.soft, state: live.state, forecastAt: live.forecastAt,
        } : counter;
    }

    /** Whether the stream names a counter that is not among these. */
    knowsMore(counters: Counter[]): boolean {
        const known = new Set(counters.map((c) => `${c.budget}\n${c.instance}`));
        return [...this.counters.keys()].some((key) => !known.has(key));
    }
}
