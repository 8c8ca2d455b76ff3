// The bearer token: asked for once when the server wants one, kept until the tab is closed.
import { h } from "./dom";

/** Sent to the window when the token was set or taken away. */
export const TOKEN_EVENT = "eider-token";

const key = "eider.token";
let memory: string | null = null;
let asking: Promise<string | null> | null = null;
let declined = false;

export function getToken(): string | null {
    try {
        return sessionStorage.getItem(key) ?? memory;
    } catch {
        return memory;
    }
}

export function setToken(token: string | null): void {
    memory = token;
    try {
        if (token) {
            sessionStorage.setItem(key, token);
        } else {
            sessionStorage.removeItem(key);
        }
    } catch {
        // storage may be forbidden; the page's memory has it
    }
    dispatchEvent(new Event(TOKEN_EVENT));
}

/**
 * Asks the reader; null when they decline. Several askers share one dialog, and who declined is
 * asked again only when they did something that needs it (`explicit`).
 */
export function askToken(explicit = false): Promise<string | null> {
    if (declined && !explicit) {
        return Promise.resolve(null);
    }
    asking ??= openDialog().then((token) => {
        asking = null;
        declined = token === null;
        return token;
    });
    return asking;
}

function openDialog(): Promise<string | null> {
    const wasWrong = getToken() !== null;
    const input = h("input", {
        id: "token-input",
        type: "password",
        autocomplete: "off",
        spellcheck: "false",
        required: true,
        "aria-describedby": "token-hint",
    });
    const cancel = h("button", { type: "button", class: "button" }, "Not now");
    const form = h(
        "form",
        { method: "dialog" },
        h("h2", { id: "token-title" }, "This server asks for a token"),
        h("p", { id: "token-hint" }, wasWrong
            ? "The token was refused. Check it and try again."
            : "It stays in this tab and is forgotten when the tab is closed."),
        h("label", { for: "token-input" }, "Bearer token"),
        input,
        h("div", { class: "dialog-actions" }, cancel,
            h("button", { type: "submit", class: "button primary" }, "Continue")),
    );
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "token-title" }, form);
    document.body.append(dialog);
    return new Promise((resolve) => {
        let answer: string | null = null;
        form.addEventListener("submit", () => {
            answer = input.value.trim() || null;
            setToken(answer);
        });
        cancel.addEventListener("click", () => dialog.close());
        dialog.addEventListener("close", () => {
            dialog.remove();
            resolve(answer);
        });
        dialog.showModal();
    });
}
