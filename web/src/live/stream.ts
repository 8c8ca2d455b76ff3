// The WebSocket /ws/metrics: connects, reconnects with growing, jittered pauses, and notices when a
// connection that looks open brings nothing.
//
//   connecting -> live <-> stalled -> waiting -> connecting ...
//   connecting -> refused (no token) -> connecting; any -> idle (hidden for long) -> connecting
import { address } from "../lib/api";
import { askToken, getToken } from "../lib/auth";
import { backoff } from "./backoff";

export type LinkState =
    | { kind: "connecting" }
    | { kind: "live" }
    | { kind: "stalled" }
    | { kind: "waiting"; retryAt: number; reason: string }
    | { kind: "refused" }
    | { kind: "idle" };

export interface StreamHandlers {
    frame(json: unknown): void;
    state(state: LinkState): void;
}

export interface StreamStats {
    frames: number;
    badFrames: number;
    connects: number;
    rttMs: number | null;
    clientId: string;
}

const STALL_MS = 2000;
const DEAD_MS = 20000; // the server speaks at least every 15 s
const PING_MS = 30000;
const CONNECT_MS = 10000;
const HIDDEN_MS = 600000;

function closeReason(event: CloseEvent, opened: boolean): string {
    if (event.code === 1008) {
        return event.reason || "the server refuses more connections";
    }
    if (event.code === 1001) {
        return "the server is shutting down";
    }
    return opened ? "the connection was lost" : "the server does not answer";
}

export class LiveStream {
    readonly stats: StreamStats = {
        frames: 0, badFrames: 0, connects: 0, rttMs: null, clientId: "",
    };
    private socket: WebSocket | null = null;
    private state: LinkState = { kind: "idle" };
    private attempt = 0;
    private retryTimer: number | undefined;
    private hiddenTimer: number | undefined;
    private startedAt = 0;
    private heardAt = 0;
    private frameAt = 0;
    private pingAt = 0;
    private pingSentAt = 0;
    private spend = false;

    constructor(private readonly handlers: StreamHandlers) {
        setInterval(() => this.watch(), 500);
        addEventListener("online", () => this.hurry());
        document.addEventListener("visibilitychange", () => this.onVisibility());
    }

    start(): void {
        this.connect();
    }

    /** Does not wait any longer; after a refusal asks for the token again. */
    async retryNow(): Promise<void> {
        if (this.state.kind === "refused" && !(await askToken(true))) {
            return;
        }
        if (this.state.kind !== "connecting" && !this.socket) {
            this.connect();
        }
    }

    /** Asks for the part "spend" of the frames, or no longer; the other parts come always. */
    wantSpend(wanted: boolean): void {
        if (wanted !== this.spend) {
            this.spend = wanted;
            this.saySpend();
        }
    }

    /** All topics in one message, so that no frame comes without one of them. */
    private saySpend(): void {
        if (this.socket?.readyState === WebSocket.OPEN) {
            this.socket.send(this.spend
                ? "subscribe:market_data,strategy,execution,system,trades,spend"
                : "unsubscribe:spend");
        }
    }

    /** Something got better: no need to wait longer. */
    private hurry(): void {
        if (this.state.kind === "idle" || this.state.kind === "waiting") {
            this.connect();
        }
    }

    private setState(state: LinkState): void {
        this.state = state;
        this.handlers.state(state);
    }

    private connect(): void {
        clearTimeout(this.retryTimer);
        this.drop();
        const url = address("ws/metrics");
        url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
        const token = getToken();
        if (token) {
            url.searchParams.set("access_token", token);
        }
        const socket = new WebSocket(url);
        let opened = false;
        this.socket = socket;
        this.startedAt = this.heardAt = this.frameAt = performance.now();
        this.setState({ kind: "connecting" });
        socket.onopen = () => {
            opened = true;
            this.stats.connects++;
            this.heardAt = performance.now();
            this.sendPing();
            if (this.spend) {
                this.saySpend();
            }
        };
        socket.onmessage = (event) => this.onMessage(event.data);
        socket.onclose = (event) => void this.onLost(closeReason(event, opened), opened);
    }

    /** Lets go of the socket without waiting for the other side's goodbye. */
    private drop(): void {
        const socket = this.socket;
        if (socket) {
            socket.onopen = socket.onmessage = socket.onclose = null;
            socket.close();
            this.socket = null;
        }
    }

    private async onLost(reason: string, opened: boolean): Promise<void> {
        this.drop();
        const pause = backoff(this.attempt, Math.random());
        this.attempt++;
        this.setState({ kind: "waiting", retryAt: performance.now() + pause, reason });
        this.retryTimer = setTimeout(() => this.connect(), pause);
        if (!opened) {
            await this.explainRefusal();
        }
    }

    /** A browser hides why a WebSocket was refused; an ordinary request tells. */
    private async explainRefusal(): Promise<void> {
        const timer = this.retryTimer;
        try {
            const response = await fetch(address("api/metrics/summary"), {
                headers: getToken() ? { Authorization: `Bearer ${getToken()}` } : {},
                cache: "no-store",
            });
            if (response.status !== 401 || this.retryTimer !== timer) {
                return;
            }
            clearTimeout(timer);
            this.setState({ kind: "refused" });
            if (await askToken()) {
                this.connect();
            }
        } catch {
            // it is really down; the retry under way will tell
        }
    }

    private onMessage(data: unknown): void {
        this.heardAt = performance.now();
        if (typeof data !== "string" || data === "ping") {
            return;
        }
        if (data === "pong") {
            this.stats.rttMs = this.heardAt - this.pingSentAt;
            return;
        }
        let json: unknown;
        try {
            json = JSON.parse(data);
        } catch {
            this.stats.badFrames++;
            return;
        }
        const message = json as { type?: unknown; client_id?: unknown };
        if (typeof message !== "object" || message === null || "type" in message) {
            this.stats.clientId = String(message?.client_id ?? this.stats.clientId);
            return;
        }
        this.stats.frames++;
        this.frameAt = this.heardAt;
        this.attempt = 0;
        if (this.state.kind !== "live") {
            this.setState({ kind: "live" });
        }
        this.handlers.frame(json);
    }

    private sendPing(): void {
        this.pingSentAt = this.pingAt = performance.now();
        this.socket?.send("ping");
    }

    private watch(): void {
        const now = performance.now();
        const socket = this.socket;
        if (!socket) {
            return;
        }
        if (socket.readyState === WebSocket.CONNECTING) {
            if (now - this.startedAt > CONNECT_MS) {
                void this.onLost("the server does not answer", false);
            }
            return;
        }
        if (now - this.heardAt > DEAD_MS) {
            void this.onLost("the connection went silent", true);
            return;
        }
        if (this.state.kind === "live" && now - this.frameAt > STALL_MS) {
            this.setState({ kind: "stalled" });
        }
        if (socket.readyState === WebSocket.OPEN && now - this.pingAt > PING_MS) {
            this.sendPing();
        }
    }

    private onVisibility(): void {
        clearTimeout(this.hiddenTimer);
        if (!document.hidden) {
            this.hurry();
            return;
        }
        this.hiddenTimer = setTimeout(() => {
            clearTimeout(this.retryTimer);
            this.drop();
            this.setState({ kind: "idle" });
        }, HIDDEN_MS);
    }
}
