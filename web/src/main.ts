// The dashboard: one page, a header, and five views as tabs. The address's #part names the view.
import "../styles/base.css";
import "../styles/parts.css";
import "../styles/views.css";
import "../styles/dashboard.css";
import "../styles/spend.css";
import {
    HealthPill, LinkIndicator, databaseSelect, logo, themeButton, utcClock,
} from "./header";
import { h, setAttr, show } from "./lib/dom";
import { startTheme } from "./lib/theme";
import type { View } from "./lib/ui";
import { backfill } from "./live/backfill";
import { LiveStore } from "./live/store";
import { LiveStream, type LinkState } from "./live/stream";
import { SpendStore } from "./spend/store";
import { HistoryView } from "./views/history";
import { LiveView } from "./views/live";
import { SpendView } from "./views/spend";
import { SqlView } from "./views/sql";
import { StatusView } from "./views/status";
import { TradesView } from "./views/trades";

startTheme();

const store = new LiveStore();
const stream = new LiveStream({ frame: onFrame, state: onState });
const link = new LinkIndicator(store, stream);
const health = new HealthPill();
const live = new LiveView(store, stream);
const spending = new SpendStore();
const spend = new SpendView(spending, stream);
const views: View[] = [
    live, new TradesView(store), spend, new HistoryView(store), new SqlView(),
    new StatusView(stream),
];
const demoBadge = h("span", {
    class: "demo", hidden: true, title: "A generator writes this data; nothing of it is real.",
}, "Demo");
let isFirstFrame = true;

function onFrame(json: unknown): void {
    store.frame(json);
    show(demoBadge, store.snapshot?.demo === true);
    live.frameCame();
    if (spending.take(json)) {
        spend.frameCame();
    }
    if (isFirstFrame) {
        isFirstFrame = false;
        void backfill(store).then(() => live.frameCame());
    }
}

function onState(state: LinkState): void {
    link.set(state);
    if (state.kind === "connecting") {
        store.reconnected();
        spending.forget();
    }
    if (state.kind === "live" || state.kind === "waiting") {
        health.again();
    }
}

/** Tabs as the ARIA practices have them: one stop, arrows move, and moving shows. */
function makeTabs(): { list: HTMLElement; select: (id: string, focus: boolean) => void } {
    const tabs = views.map((view) => h("button", {
        type: "button", role: "tab", id: `tab-${view.id}`, "aria-controls": `view-${view.id}`,
        onclick: () => go(view.id),
    }, view.label));
    const list = h("div", { class: "tabs", role: "tablist", "aria-label": "Views" }, tabs);
    let current: View | null = null;

    function select(id: string, focus: boolean): void {
        const next = views.find((view) => view.id === id) ?? live;
        views.forEach((view, i) => {
            const tab = tabs[i];
            const chosen = view === next;
            if (tab) {
                setAttr(tab, "aria-selected", String(chosen));
                setAttr(tab, "tabindex", chosen ? "0" : "-1");
                if (chosen && focus) {
                    tab.focus();
                }
            }
            const frame = document.getElementById(`view-${view.id}`);
            if (frame) {
                show(frame, chosen);
            }
        });
        if (next !== current) {
            current?.hide();
            current = next;
            next.show();
        }
    }

    list.addEventListener("keydown", (event) => {
        const at = views.findIndex((view) => view === current);
        const to = {
            ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: views.length - 1,
        }[event.key];
        if (to !== undefined) {
            event.preventDefault();
            const next = views[(to + views.length) % views.length];
            if (next) {
                go(next.id);
                select(next.id, true);
            }
        }
    });
    return { list, select };
}

function go(id: string): void {
    history.replaceState(null, "", `#${id}`);
    tabs.select(id, false);
}

const tabs = makeTabs();

function currentId(): string {
    return location.hash.slice(1) || "live";
}

document.getElementById("app")?.replaceChildren(
    h("header", { class: "top" },
        h("div", { class: "brand" }, logo(), h("h1", null, "Eider"), databaseSelect(), demoBadge),
        tabs.list,
        h("div", { class: "top-side" },
            utcClock(store, stream), health.root, link.root, themeButton())),
    h("main", { id: "main", tabindex: -1 },
        views.map((view) => h("div", {
            role: "tabpanel", id: `view-${view.id}`, "aria-labelledby": `tab-${view.id}`,
            class: `view view-${view.id}`, hidden: true,
        }, view.root))));

addEventListener("hashchange", () => tabs.select(currentId(), false));
document.querySelector(".skip-link")?.addEventListener("click", (event) => {
    event.preventDefault(); // the address names the view
    document.getElementById("main")?.focus();
});
tabs.select(currentId(), false);
health.start();
stream.start();
