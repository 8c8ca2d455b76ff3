// Dark or light: the reader's choice if there is one, the system's otherwise.

type Theme = "dark" | "light";

const key = "eider.theme";
const system = matchMedia("(prefers-color-scheme: light)");
const listeners = new Set<() => void>();
let choice = stored();

function stored(): Theme | null {
    try {
        const value = localStorage.getItem(key);
        return value === "dark" || value === "light" ? value : null;
    } catch {
        return null; // storage may be forbidden
    }
}

export function theme(): Theme {
    return choice ?? (system.matches ? "light" : "dark");
}

function apply(): void {
    document.documentElement.dataset["theme"] = theme();
    for (const listener of listeners) {
        listener();
    }
}

export function toggleTheme(): void {
    choice = theme() === "dark" ? "light" : "dark";
    try {
        localStorage.setItem(key, choice);
    } catch {
        // then it holds until the page is left
    }
    apply();
}

export function onThemeChange(listener: () => void): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
}

export function startTheme(): void {
    system.addEventListener("change", apply);
    addEventListener("storage", (event) => {
        if (event.key === key) {
            choice = stored();
            apply();
        }
    });
    apply();
}

/** The value of a colour of the present theme, e.g. token("s1"). */
export function token(name: string): string {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
