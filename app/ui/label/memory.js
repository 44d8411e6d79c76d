// What the browser remembers, per user. Without storage, as in some private windows, nothing is remembered.

const user = () => window.gradio_config?.username ?? "local";

export const key = (...parts) => ["hypo", "label", user(), ...parts].join(":");

export function read(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

// Whether it could be written.
export function write(name, value) {
  try {
    if (Array.isArray(value) && !value.length) localStorage.removeItem(name);
    else localStorage.setItem(name, JSON.stringify(value));
    return true;
  } catch {
    return false; // full or forbidden
  }
}
