/** Groups: messages to a group, one client, everyone, oneself. Options: groups.d.ts. */

/** @import { Draft, GroupMessage, GroupOptions } from "./groups.d.ts" */

import { below, ownAddress, segment } from "./device.js";
import { asked, LiveClient } from "./live.js";
import { Trail } from "./trail.js";

export class GroupClient extends LiveClient {
  #options;
  #trail = new Trail((reason) => this.emit("gap", { reason }));

  constructor(/** @type {GroupOptions} */ { url = ownAddress(""), group, client, apiKey, jwt, account = "", ...options }) {
    super(options, { msg_type: "heartbeat", target: "echo" }, apiKey, jwt);
    const place = below(url, `/v3/ws/group/${segment(group)}/client/${segment(client)}`);
    this.#options = { place, apiKey, jwt, account };
  }

  sendGroup(/** @type {string} */ msg, payload = {}) {
    return this.send({ target: "group", msg, payload });
  }

  sendDirect(/** @type {string} */ to, /** @type {string} */ msg, payload = {}) {
    return this.send({ target: "direct", to_id: to, msg, payload });
  }

  broadcast(/** @type {string} */ msg, payload = {}) {
    return this.send({ target: "broadcast", msg, payload });
  }

  echo(/** @type {string} */ msg, payload = {}) {
    return this.send({ target: "echo", msg, payload });
  }

  cmd(/** @type {string} */ cmd, payload = {}, to = "") {
    return this.send({ msg_type: "cmd", target: to ? "direct" : "group", to_id: to || null, cmd, payload });
  }

  send(/** @type {Draft} */ message) {
    return this.say({ msg_type: "msg", ...message });
  }

  /** @override */
  async address() {
    const { place, apiKey, jwt, account } = this.#options;
    const { epoch = "", offset = "" } = this.#trail.ask() ?? {};
    const who = { api_key: await asked(apiKey), jwt: await asked(jwt), x_account_id: account };
    const query = { ...who, since_epoch: epoch, since_offset: `${offset}` };
    for (const [name, value] of Object.entries(query)) place.searchParams.set(name, value);
    return place.href;
  }

  /** @override */
  greeted() {
    this.#trail.settle();
  }

  /** @override */
  received(/** @type {GroupMessage} */ message) {
    const { from_id: from, target, msg_type: type, cmd, msg, payload } = message;
    const word = target === "echo" && from === "server" && cmd; // who calls itself so does not reach our echo
    if (word === "RECOVERED") this.#trail.answered(payload);
    else if (word === "ERROR") this.emit("error", { message: msg, errors: payload.errors });
    else if (target === "echo" && type === "heartbeat") this.proved();
    else if (target !== "group" || this.#trail.heard(message)) this.emit(type === "presence" ? type : "message", message);
  }
}
