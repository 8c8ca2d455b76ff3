// Repeats a request while its view is looked at: one at a time, never while the tab is hidden.

export class Poll {
    private timer: number | undefined;
    private busy = false;
    private running = false;
    private again = false;

    constructor(
        private readonly task: () => Promise<void>,
        private readonly intervalMs: number,
    ) {
        document.addEventListener("visibilitychange", () => {
            if (this.running && !document.hidden) {
                void this.now();
            }
        });
    }

    start(): void {
        if (!this.running) {
            this.running = true;
            void this.now();
        }
    }

    stop(): void {
        this.running = false;
        clearTimeout(this.timer);
    }

    /** Runs at once, or right after the run under way. */
    async now(): Promise<void> {
        if (this.busy) {
            this.again = true;
            return;
        }
        clearTimeout(this.timer);
        this.busy = true;
        try {
            await this.task();
        } finally {
            this.busy = false;
        }
        if (this.again) {
            this.again = false;
            await this.now();
        } else if (this.running && !document.hidden) {
            this.timer = setTimeout(() => void this.now(), this.intervalMs);
        }
    }
}
