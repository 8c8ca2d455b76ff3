// Making and changing elements. Text only ever becomes text nodes: nothing here parses HTML.

export type Child = Node | string | number | null | undefined | false;
type Value = string | number | boolean | null | undefined | ((event: never) => void);
export type Props = Record<string, Value>;

/** Makes an element; a property `onclick` adds a listener, `true` sets an empty attribute. */
export function h<K extends keyof HTMLElementTagNameMap>(
    tag: K,
    props?: Props | null,
    ...children: (Child | Child[])[]
): HTMLElementTagNameMap[K] {
    const element = document.createElement(tag);
    applyProps(element, props);
    append(element, children);
    return element;
}

const svgSpace = "http://www.w3.org/2000/svg";

export function svg(tag: string, props?: Props | null, ...children: Child[]): SVGElement {
    const element = document.createElementNS(svgSpace, tag);
    applyProps(element, props);
    append(element, children);
    return element;
}

function applyProps(element: Element, props: Props | null | undefined): void {
    for (const [name, value] of Object.entries(props ?? {})) {
        if (typeof value === "function") {
            element.addEventListener(name.slice(2), value as unknown as EventListener);
        } else if (value === true) {
            element.setAttribute(name, "");
        } else if (value !== false && value !== null && value !== undefined) {
            element.setAttribute(name, String(value));
        }
    }
}

function append(element: Element, children: (Child | Child[])[]): void {
    for (const child of children.flat()) {
        if (child !== null && child !== undefined && child !== false) {
            element.append(typeof child === "number" ? String(child) : child);
        }
    }
}

/** Sets the text of an element that holds nothing else, touching the page only on a change. */
export function setText(element: Element, text: string): void {
    const node = element.firstChild;
    if (node instanceof Text && node === element.lastChild) {
        if (node.data !== text) {
            node.data = text;
        }
        return;
    }
    if (node === null && text === "") {
        return;
    }
    element.replaceChildren(text);
}

/** Sets an attribute, touching the page only on a change; null removes it. */
export function setAttr(element: Element, name: string, value: string | null): void {
    if (value === null) {
        if (element.hasAttribute(name)) {
            element.removeAttribute(name);
        }
    } else if (element.getAttribute(name) !== value) {
        element.setAttribute(name, value);
    }
}

export function setClass(element: Element, name: string): void {
    if (element.className !== name) {
        element.className = name;
    }
}

export function show(element: HTMLElement, visible: boolean): void {
    if (element.hidden === visible) {
        element.hidden = !visible;
    }
}

let lastId = 0;

/** An id for this page, for label and description references. */
export function uniqueId(prefix: string): string {
    lastId += 1;
    return `${prefix}-${lastId}`;
}

/** Offers text as a file. */
export function download(name: string, mime: string, text: string): void {
    const address = URL.createObjectURL(new Blob([text], { type: mime }));
    const link = h("a", { href: address, download: name });
    link.click();
    URL.revokeObjectURL(address);
}
