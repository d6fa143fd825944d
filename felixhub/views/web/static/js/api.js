// Requests to the gateway. Owns: the token, the ids of commands, and errors as one sentence. Must not: touch the page.

export class Refused extends Error {
  constructor(sentence, code, status, field) {
    super(sentence);
    this.code = code;
    this.status = status;
    this.field = field;
  }
}

let token = document.querySelector('meta[name="felixhub-token"]').content;

const AWAY = "The page's server does not answer. Start `felixhub web` again, and this page goes on by itself.";

async function refusal(response) {
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch { /* not from the gateway */ }
  return new Refused(error.sentence ?? `The server said ${response.status} ${response.statusText}`, error.code ?? "", response.status, error.field);
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Refused(AWAY, "no_gateway", 0);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

export const getJson = async (path) => (await ask(path)).json();
export const getText = async (path) => (await ask(path)).text();
export const getFile = (path) => ask(path);

// A new life of the gateway has a new token: it stands in the page.
export async function renewToken() {
  const page = new DOMParser().parseFromString(await getText("/"), "text/html");
  const found = page.querySelector('meta[name="felixhub-token"]')?.content;
  const isNew = Boolean(found) && found !== token;
  if (found) token = found;
  return isNew;
}

export const newId = (bytes = 12) => Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// A command is done once, however often it is sent: it keeps its id.
export async function post(path, body = {}, id = newId()) {
  const send = () =>
    ask(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-FelixHub-Token": token, "Idempotency-Key": id },
      body: JSON.stringify(body),
    });
  let response;
  try {
    response = await send();
  } catch (error) {
    if (error.status !== 401 || !(await renewToken())) throw error;
    response = await send();
  }
  return response.json();
}

export const runPath = (run) => `/api/runs/${encodeURIComponent(run)}`;
export const agentPath = (run, agent) => `${runPath(run)}/agents/${encodeURIComponent(agent)}`;
export const sectionPath = (run, section) => `${runPath(run)}/sections/${encodeURIComponent(section)}`;
export const thoughtPath = (run, thought) => `${runPath(run)}/thoughts/${encodeURIComponent(thought)}`;
