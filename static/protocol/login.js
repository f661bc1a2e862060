/** Asking the server who this browser is, logging in and out. A password is in its one request, and nowhere else. */

const HEADERS = { Accept: "application/json" };

const textOf = (value) => (typeof value === "string" ? value : "");

/**
 * Return a promise of `{user, form}`: the name of the user who is logged in, "" for none, and what has to be sent with
 * a form, "" if there is no log-in here. It is rejected if the server does not answer.
 */
export async function askWho({ signal, fetch = globalThis.fetch } = {}) {
  const answer = await fetch("/login", { headers: HEADERS, cache: "no-store", signal });
  if (answer.status >= 500) throw new Error(`status ${answer.status}`);
  const { user, form } = answer.ok ? await answer.json() : {};
  return { user: textOf(user), form: textOf(form) };
}

/** Return a promise of the answer to a form. */
function post(address, fields, { signal, fetch }) {
  const body = new URLSearchParams(fields);
  return fetch(address, { method: "POST", headers: HEADERS, cache: "no-store", body, signal });
}

/**
 * Log in. Return a promise of `{user, problem}`; `problem` is "" after a success, "wrong" (name or password), "form"
 * (the browser keeps no cookies), "busy" (the server cannot say now) or "silent" (it does not answer).
 */
export async function logIn({ name, password }, { signal, fetch = globalThis.fetch } = {}) {
  try {
    // The form is asked for each time: a server that was restarted knows no earlier one.
    const { form } = await askWho({ signal, fetch });
    const answer = await post("/login", { name, password, form }, { signal, fetch });
    const { user, reason } = answer.status === 200 || answer.status === 403 ? await answer.json() : {};
    if (answer.status === 200 && textOf(user) !== "") return { user, problem: "" };
    if (answer.status !== 403) return { user: "", problem: "busy" };
    return { user: "", problem: reason === "form" ? "form" : "wrong" };
  } catch {
    return { user: "", problem: "silent" };
  }
}

/** Log out. Return a promise of the name of the user who is logged in all the same, "" for none; rejected if it failed. */
export async function logOut({ fetch = globalThis.fetch } = {}) {
  const { form } = await askWho({ fetch });
  const answer = await post("/logout", { form }, { fetch });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return (await askWho({ fetch })).user;
}
