// Stacked columns. Pure.
import type { AlignedData } from "uplot";

/** Columns summed from the last to the first: drawn in their order, later ones cover earlier ones
 * and leave of each what it is alone. */
export function stack(data: AlignedData): AlignedData {
    const [times, ...columns] = data;
    const sums = columns.map((column) => Array.from(column));
    for (let i = sums.length - 2; i >= 0; i--) {
        const [here, below] = [sums[i], sums[i + 1]];
        here?.forEach((value, at) => {
            here[at] = (value ?? 0) + (below?.[at] ?? 0);
        });
    }
    return [times, ...sums];
}
