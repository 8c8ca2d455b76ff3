// This machine: processor, memory, disk, and its active alerts.
import { getJson, messageOf, postJson } from "../lib/api";
import { Chart } from "../lib/chart";
import { h, setText, show } from "../lib/dom";
import { bytes, duration, fixed, parseTime, percent, clock } from "../lib/format";
import { Poll } from "../lib/poll";
import { panel, problemLine, Stat, stats } from "../lib/ui";
import type { LiveStore } from "../live/store";
import type { LivePanel, RenderContext } from "./live";

interface Alert {
    alert_id: string;
    type: string;
    message: string;
    severity: string;
    timestamp: string;
    active: boolean;
    acknowledged_at?: string;
}

const WARN_PERCENT = 80;
const BAD_PERCENT = 90;

function level(value: number | null): string {
    return value === null || value <= WARN_PERCENT ? "" : value > BAD_PERCENT ? "bad" : "warn";
}

const rate = (value: number) => `${bytes(value)}/s`;

/** Figures that the server adds when it knows them: label, name, text, and what it is a part of. */
const extras: [label: string, name: string, format: (value: number) => string, whole?: string][] = [
    ["Load", "load1", (v) => fixed(v, 2), "cpu_cores"],
    ["Memory", "memory_used_bytes", bytes, "memory_total_bytes"],
    ["Disk", "disk_used_bytes", bytes, "disk_total_bytes"],
    ["Network in", "net_rx_bytes_per_second", rate],
    ["Network out", "net_tx_bytes_per_second", rate],
    ["Disk read", "disk_read_bytes_per_second", rate],
    ["Disk write", "disk_write_bytes_per_second", rate],
];

/** Cores are whole numbers, but for containers that have a part of one. */
const wholeText = (name: string, value: number) =>
    name === "cpu_cores" ? `${fixed(value, value % 1 ? 1 : 0)} cores` : bytes(value);

export class HostPanel implements LivePanel {
    readonly root: HTMLElement;
    private readonly cpu = new Stat("CPU", { swatch: "s1", big: true });
    private readonly memory = new Stat("Memory", { swatch: "s2", big: true });
    private readonly disk = new Stat("Disk", { swatch: "s3", big: true });
    private readonly uptime = h("dd");
    private readonly details = h("dl", { class: "details" });
    private readonly extraValues = new Map<string, HTMLElement>();
    private readonly alertList = h("ul", { class: "alerts", "aria-live": "polite" });
    private readonly problem = problemLine();
    private readonly poll = new Poll(() => this.loadAlerts(), 5000);
    private alertsSeen: number | null = null;
    private alertsShown = "";
    private readonly chart = new Chart({
        label: "Processor, memory and disk usage in percent over time",
        height: 236,
        legend: false,
        sync: "live",
        yRange: [0, 100],
        yFormat: (v) => `${v}%`,
        series: [
            { label: "CPU", color: "s1", format: percent, fill: true },
            { label: "Memory", color: "s2", format: percent },
            { label: "Disk", color: "s3", format: percent, dash: true },
        ],
    });

    constructor() {
        this.details.append(h("div", null, h("dt", null, "Uptime"), this.uptime));
        this.root = panel("Host", "host", [], stats(this.cpu, this.memory, this.disk),
            this.chart.root, this.details, this.alertList, this.problem.root);
    }

    show(): void {
        this.poll.start();
    }

    hide(): void {
        this.poll.stop();
    }

    render(store: LiveStore, context: RenderContext): void {
        const system = store.snapshot?.system;
        this.cpu.set(percent(system?.cpu ?? null), level(system?.cpu ?? null));
        this.memory.set(percent(system?.memory ?? null), level(system?.memory ?? null));
        this.disk.set(percent(system?.disk ?? null), level(system?.disk ?? null));
        if (context.charts) {
            this.chart.setData(store.host.view(context.from, ["cpu", "memory", "disk"]),
                [context.from, context.to]);
        }
        if (context.slow && system) {
            setText(this.uptime, duration(system.uptime));
            this.renderExtras(system.extra);
            if (system.alerts !== this.alertsSeen) {
                this.alertsSeen = system.alerts;
                void this.poll.now();
            }
        }
    }

    private renderExtras(values: Record<string, number>): void {
        for (const [label, name, format, whole] of extras) {
            const value = values[name];
            if (value === undefined) {
                continue;
            }
            let element = this.extraValues.get(name);
            if (!element) {
                element = h("dd");
                this.extraValues.set(name, element);
                this.details.append(h("div", null, h("dt", null, label), element));
            }
            const of = whole === undefined ? undefined : values[whole];
            setText(element, of === undefined || whole === undefined
                ? format(value) : `${format(value)} of ${wholeText(whole, of)}`);
        }
    }

    private async loadAlerts(): Promise<void> {
        try {
            const { alerts } = await getJson<{ alerts: Alert[] }>("api/system/alerts");
            this.renderAlerts(alerts.filter((alert) => alert.active));
        } catch {
            this.renderAlerts([]); // the connection's state is shown elsewhere
        }
    }

    private renderAlerts(alerts: Alert[]): void {
        const text = JSON.stringify(alerts);
        if (text === this.alertsShown) {
            return; // what is said anew is read out anew
        }
        this.alertsShown = text;
        const focused = (document.activeElement as HTMLElement | null)?.dataset["alert"];
        this.alertList.replaceChildren(...alerts.map((alert) => this.alertLine(alert)));
        show(this.alertList, alerts.length > 0);
        if (focused) {
            this.alertList.querySelector<HTMLElement>(`[data-alert="${CSS.escape(focused)}"]`)
                ?.focus();
        }
    }

    private alertLine(alert: Alert): HTMLElement {
        const severity = alert.severity === "critical" ? "bad" : "warn";
        const acknowledged = Boolean(alert.acknowledged_at);
        const button = h("button", {
            type: "button", class: "button small", "data-alert": alert.alert_id,
            "aria-label": `Acknowledge: ${alert.message}`,
            onclick: () => void this.acknowledge(alert.alert_id),
        }, "Acknowledge");
        return h("li", { class: `alert ${severity}` },
            h("span", { class: "alert-text" }, h("strong", null, alert.severity), " ",
                alert.message, h("span", { class: "faint" },
                    ` since ${clock(parseTime(alert.timestamp))}`)),
            acknowledged ? h("span", { class: "faint" }, "acknowledged") : button);
    }

    private async acknowledge(id: string): Promise<void> {
        try {
            await postJson(`api/system/alerts/acknowledge/${encodeURIComponent(id)}`, {});
            this.problem.set("");
        } catch (error) {
            this.problem.set(`Not acknowledged: ${messageOf(error)}`);
        }
        await this.poll.now();
    }
}
