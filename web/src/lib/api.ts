// Requests to the server this page came from. Addresses are relative to the page, so that a reverse
// proxy may serve it under a path of its own.
import { askToken, getToken } from "./auth";

const base = new URL(".", location.href);

export function address(path: string): URL {
    return new URL(path.replace(/^\//, ""), base);
}

/** A refusal, or no answer at all (status 0); the message is for the reader. */
export class ApiError extends Error {
    readonly status: number;
    readonly body: unknown;

    constructor(status: number, message: string, body?: unknown) {
        super(message);
        this.status = status;
        this.body = body;
    }
}

function withToken(init: RequestInit): RequestInit {
    const headers = new Headers(init.headers);
    const token = getToken();
    if (token) {
        headers.set("Authorization", `Bearer ${token}`);
    }
    return { ...init, headers, cache: "no-store" };
}

/** fetch with the token; asks for one on 401 and repeats the request once. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
    const send = async (): Promise<Response> => {
        try {
            return await fetch(address(path), withToken(init));
        } catch (error) {
            if (error instanceof DOMException && error.name === "AbortError") {
                throw error;
            }
            throw new ApiError(0, "the server does not answer");
        }
    };
    const response = await send();
    if (response.status !== 401) {
        return response;
    }
    return (await askToken()) ? send() : response;
}

/** What a refusal says: `detail` is a text, or FastAPI's list of problems. */
export function errorText(body: unknown, status: number): string {
    const detail = (body as { detail?: unknown } | null)?.detail;
    if (typeof detail === "string") {
        return detail;
    }
    if (Array.isArray(detail)) {
        return detail.map((item: { loc?: unknown[]; msg?: string }) =>
            `${(item.loc ?? []).join(".")}: ${item.msg ?? ""}`).join("; ");
    }
    return `the server answered ${status}`;
}

async function parse(response: Response): Promise<unknown> {
    const text = await response.text();
    try {
        return JSON.parse(text) as unknown;
    } catch {
        return null;
    }
}

/** A JSON answer of any status. */
export async function getAny(path: string): Promise<{ status: number; body: unknown }> {
    const response = await request(path);
    return { status: response.status, body: await parse(response) };
}

async function json<T>(path: string, init: RequestInit): Promise<T> {
    const response = await request(path, init);
    const body = await parse(response);
    if (!response.ok) {
        throw new ApiError(response.status, errorText(body, response.status), body);
    }
    if (body === null) {
        throw new ApiError(response.status, "the answer is not JSON");
    }
    return body as T;
}

export function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
    return json<T>(path, signal ? { signal } : {});
}

export function postJson<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
    return json<T>(path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
        ...(signal ? { signal } : {}),
    });
}

export function messageOf(error: unknown): string {
    return error instanceof Error ? error.message : String(error);
}
