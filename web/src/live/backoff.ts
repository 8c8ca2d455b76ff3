// How long to wait before connecting again. Pure.

/**
 * The pause in ms before attempt n (from 0): 0.5 s doubling to 15 s, less up to half of it by
 * chance (`random` in 0 to 1), so that the viewers of a restarted server do not all come at once.
 */
export function backoff(attempt: number, random: number): number {
    const full = Math.min(15000, 500 * 2 ** Math.min(attempt, 10));
    return full * (1 - random / 2);
}
