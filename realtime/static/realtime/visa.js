/** Who one is on the pages of topics and groups: what was given, or tokens for a password. In memory only. */

const EARLY_MS = 30_000; // a token is replaced so long before its end

export class Visa {
  #given;
  #pair = null; // { access, refresh, until }
  #renewal = null;
  over = ""; // why there will be no other token

  /** A key or a token as it is. */
  constructor(given = "") {
    this.#given = given;
  }

  static async logIn(username, password) {
    const visa = new Visa();
    visa.#pair = await pairFrom("/api/auth/token/", { username, password });
    return visa;
  }

  /** For the next attempt or request. */
  async token() {
    if (!this.#pair) return this.#given;
    if (Date.now() > this.#pair.until) {
      // One for all who wait: a refresh token is good once, and its second use ends them all.
      this.#renewal ??= this.#renew().finally(() => (this.#renewal = null));
      await this.#renewal;
    }
    return this.#pair.access;
  }

  /** The token was refused, or has run out on the server's clock. */
  distrust() {
    if (this.#pair) this.#pair.until = 0;
  }

  async headers() {
    return { Authorization: `Bearer ${await this.token()}` };
  }

  async #renew() {
    try {
      this.#pair = await pairFrom("/api/auth/token/refresh/", { refresh: this.#pair.refresh });
    } catch (error) {
      if (error.status === 401) this.over = "You were logged out. Log in again.";
      throw error;
    }
  }
}

async function pairFrom(path, body) {
  const headers = { "Content-Type": "application/json" };
  const { access, refresh } = await answerOf(fetch(path, { method: "POST", headers, body: JSON.stringify(body), credentials: "omit" }));
  return { access, refresh, until: Date.now() + lifetimeMs(access) - EARLY_MS };
}

/** The JSON of an answer. Throws what the server says, or that it says nothing. */
export async function answerOf(asking) {
  const response = await asking.catch(() => {
    throw new Error("The server could not be reached.");
  });
  const answer = await response.json().catch(() => null); // a proxy's page
  const { ok, status } = response;
  if (!ok) throw Object.assign(new Error(answer?.error?.message ?? `The server answered ${status}.`), { status });
  return answer;
}

// By its own two times, whatever this machine's clock says.
function lifetimeMs(token) {
  const { exp, iat } = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
  return (exp - iat) * 1000;
}
