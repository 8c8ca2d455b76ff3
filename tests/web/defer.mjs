// Test support: what a test opens is closed when it ends, the last first (node's own hooks run the
// other way round, and then pages would see their servers go).

const stacks = new WeakMap();

export function defer(t, close) {
    if (!stacks.has(t)) {
        const stack = [];
        stacks.set(t, stack);
        t.after(async () => {
            const problems = [];
            for (const step of stack.reverse()) {
                await Promise.resolve().then(step).catch((error) => problems.push(error));
            }
            if (problems.length > 0) {
                throw problems[0];
            }
        });
    }
    stacks.get(t).push(close);
}
