// The dialog before an operator's change of a budget: what it does, and why it is done.
import { ApiError, messageOf, postJson } from "../lib/api";
import { askToken } from "../lib/auth";
import { h, setText, show, uniqueId } from "../lib/dom";
import { problemLine } from "../lib/ui";

export type Action = "reset" | "force-open" | "enforce";

const actions: Record<Action, { label: string; title: string; effect: string }> = {
    reset: {
        label: "Reset", title: "Reset",
        effect: "Its counters begin again at zero and its breaker closes. What is reserved stays " +
            "reserved. The event log keeps every entry.",
    },
    "force-open": {
        label: "Force open", title: "Force open",
        effect: "Every call that it covers is refused from now on, until it is set to enforce " +
            "again.",
    },
    enforce: {
        label: "Enforce", title: "Enforce",
        effect: "Calls that pass its hard limit are refused; others go through.",
    },
};

export const actionLabel = (action: Action): string => actions[action].label;

/** Asks, does it, and says whether it was done. Errors stay in the dialog. */
export function changeBudget(name: string, action: Action): Promise<boolean> {
    const { label, title, effect } = actions[action];
    const titleId = uniqueId("dialog");
    const effectId = uniqueId("effect");
    const problem = problemLine();
    const reason = h("input", {
        id: uniqueId("reason"), type: "text", autocomplete: "off", maxlength: 500,
        placeholder: "Kept with the change",
    });
    const cancel = h("button", { type: "button", class: "button" }, "Cancel");
    const go = h("button", {
        type: "submit", class: action === "force-open" ? "button danger" : "button primary",
    }, label);
    const other = h("button", { type: "button", class: "button", hidden: true }, "Another token");
    const form = h("form", { method: "dialog" },
        h("h2", { id: titleId }, `${title}: ${name}`), h("p", { id: effectId }, effect),
        h("label", { for: reason.id }, "Reason (optional)"), reason, problem.root,
        h("div", { class: "dialog-actions" }, other, cancel, go));
    const dialog = h("dialog", {
        class: "dialog", "aria-labelledby": titleId, "aria-describedby": effectId,
    }, form);
    document.body.append(dialog);
    return new Promise((resolve) => {
        let done = false;
        const send = async () => {
            go.disabled = true;
            setText(go, "…");
            problem.set("");
            try {
                const path = `api/v1/spend/budgets/${encodeURIComponent(name)}/${action}`;
                await postJson(path, reason.value.trim() ? { reason: reason.value.trim() } : {});
                done = true;
                dialog.close();
            } catch (error) {
                problem.set(`It was not changed: ${messageOf(error)}`);
                const status = error instanceof ApiError ? error.status : 0;
                show(other, status === 401 || status === 403);
            }
            go.disabled = false;
            setText(go, label);
        };
        form.addEventListener("submit", (event) => {
            event.preventDefault();
            void send();
        });
        other.addEventListener("click", () => {
            void askToken(true).then((token) => (token ? send() : undefined));
        });
        cancel.addEventListener("click", () => dialog.close());
        dialog.addEventListener("close", () => {
            dialog.remove();
            resolve(done);
        });
        dialog.showModal();
        (action === "force-open" ? cancel : reason).focus();
    });
}
