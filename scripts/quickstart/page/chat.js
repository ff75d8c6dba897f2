// /chat?as=user1@localhost&transport=websocket: converse.js for one account. Without `as` it asks who you are.
import converse from "/converse/converse.min.js";

const { domain, accounts, websocketPath, boshPath } = await (await fetch("/page/facts.json")).json();
const query = new URLSearchParams(location.search);
const me = accounts.find((account) => account.jid === query.get("as"));
const peer = accounts.find((account) => account !== me);

const overBosh = query.get("transport") === "bosh";
const service = overBosh
  ? { bosh_service_url: `https://${location.host}${boshPath}` }
  : { websocket_url: `wss://${location.host}${websocketPath}` };
const account = me ? { auto_login: true, jid: `${me.jid}/${resourceOf(me.jid)}`, password: me.password } : {};
const chat = me && peer ? { singleton: true, auto_join_private_chats: [peer.jid] } : {};

/**
 * The same after a reload, in this tab only. converse.js 14 takes another one then, also when it resumes, and ejabberd
 * ends a session that writes from an address that is not its own.
 */
function resourceOf(jid) {
  const key = `resource of ${jid}`;
  const before = sessionStorage.getItem(key);
  if (before === null || !overBosh) forgetBosh(jid);
  const resource = before ?? `converse-${crypto.randomUUID().slice(0, 8)}`;
  sessionStorage.removeItem(key); // a copy of this tab shall not find it
  window.addEventListener("pagehide", () => sessionStorage.setItem(key, resource));
  return resource;
}

/**
 * A copy of a tab has the BOSH session that strophe.js keeps, too, and going on with it would end it for both. A tab that is on
 * WebSocket for a while finds it dead, and has taken it for alive until then.
 */
function forgetBosh(jid) {
  const key = "strophe-bosh-session";
  const kept = JSON.parse(sessionStorage.getItem(key) ?? "{}");
  if (kept.jid?.split("/")[0] === jid) sessionStorage.removeItem(key); // the other pane of the tab keeps its own
}

converse.plugins.add("breakwater-quickstart", {
  dependencies: ["converse-smacks"], // it shall hear of each event first
  initialize() {
    const { _converse } = this;
    const { api } = _converse;
    // Without this it would find out when it writes. (BOSH does find out, and strophe.js tries again by itself.)
    window.addEventListener("offline", () => {
      if (api.connection.connected() && api.connection.isType("websocket")) api.connection.reconnect();
    });
    // converse.js 14 resumes once and from then on begins anew: it never forgets that it has resumed.
    const forget = () => _converse.session.save("smacks_resumed", false);
    api.listen.on("connected", forget);
    api.listen.on("reconnected", forget);
  },
});

converse.initialize({
  ...service,
  ...account,
  ...chat,
  discover_connection_methods: false,
  assets_path: "/converse",
  i18n: "en",
  locked_domain: domain,
  // Each tab by itself, and nothing of an earlier quickstart, whose accounts had the same names.
  persistent_store: "sessionStorage",
  whitelisted_plugins: ["breakwater-quickstart"],
  blacklisted_plugins: ["converse-omemo", "converse-register"],
  show_desktop_notifications: false,
});
