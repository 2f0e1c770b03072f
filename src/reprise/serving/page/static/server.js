// Requests to the server that this page came from.

const TOKEN = "reprise-token"; // of this tab alone, and never part of a link

/** An answer that is an error: its status (0 where there was no answer), and a sentence. */
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function useToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

/** Return the JSON at a path below the page; with a body, post it. */
export async function ask(path, body) {
  const headers = {};
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, "");
  }
  const found = await response.json().catch(() => null);
  if (response.ok && found !== null) return found;
  throw new Problem(response.status, found?.error?.message ?? `HTTP ${response.status}`);
}

/** Return a function that shows only the latest of what it is asked for: one request at a time. */
export function latest(work, show, fail) {
  let running = false;
  let again = false;
  return async function refresh() {
    again = true;
    if (running) return;
    running = true;
    while (again) {
      again = false;
      try {
        const found = await work();
        if (!again) show(found);
      } catch (error) {
        if (!again) fail(error);
      }
    }
    running = false;
  };
}
