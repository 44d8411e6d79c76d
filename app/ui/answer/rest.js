// Calls of the REST API, relative to the page, with the session's cookie.

const TIMEOUT_SECONDS = 45;

// Whether a text of an address is an id, as the server reads it.
export const isId = (text) => /^[1-9]\d{0,9}$/.test(text ?? "") && Number(text) <= 2 ** 31 - 1;

// Returns {ok, data, sentence}; `sentence` says why a call was refused or failed.
export async function call(method, path, body) {
  try {
    const answer = await fetch(new URL(`api/v1/${path}`, document.baseURI), {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_SECONDS * 1000),
    });
    const data = await answer.json();
    return { ok: answer.ok, status: answer.status, data, sentence: answer.ok ? "" : data.message };
  } catch {
    return { ok: false, status: 0, data: null, sentence: hyText("The app does not answer. The page tries again.") };
  }
}

// Waits between two looks at work that goes on; a hidden page waits until it is seen.
export async function pause(seconds) {
  await new Promise((done) => setTimeout(done, seconds * 1000));
  if (!document.hidden) return;
  await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
}
