// Calls of the REST API, relative to the page, with the session's cookie.

const TIMEOUT_SECONDS = 20;
const TRY_AGAIN = new Set([401, 408, 425, 429]);

// The call may or may not have been received; it can be sent again.
export class Unreachable extends Error {}

// Returns {ok, data, sentence}; `sentence` says why a call was refused.
export async function call(method, path, { body, key } = {}) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  let answer, data;
  try {
    answer = await fetch(new URL(`api/v1/${path}`, document.baseURI), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      keepalive: true, // a vote survives that the page is left
      signal: AbortSignal.timeout(TIMEOUT_SECONDS * 1000),
    });
    data = answer.status === 204 ? null : await answer.json();
  } catch (error) {
    throw new Unreachable(String(error));
  }
  if (answer.status >= 500 || TRY_AGAIN.has(answer.status)) throw new Unreachable(`status ${answer.status}`);
  return { ok: answer.ok, status: answer.status, data, sentence: answer.ok ? "" : data.message };
}
