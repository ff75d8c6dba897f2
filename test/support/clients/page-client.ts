/**
 * A client for `page.evaluate`: XEP-0198 by hand, and a new WebSocket whenever the old one is gone, as web clients do.
 * Leaves in the page: `bodies`, `resumes`, and `say(to, text)`. Resolves with the full address.
 */
export const pageClient = (url: string, user: string): string => `new Promise((ready) => {
  const FRAMING = "urn:ietf:params:xml:ns:xmpp-framing", SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
  const OPEN = "<open xmlns='" + FRAMING + "' to='localhost' version='1.0'/>";
  window.bodies = [];
  window.resumes = 0;
  let handled = 0, id = null, socket, online = false, unacked = [];
  const raw = (text) => socket.readyState === 1 && socket.send(text);
  const stanza = (text) => { unacked.push(text); if (online) raw(text); };
  window.say = (to, text) =>
    stanza("<message xmlns='jabber:client' type='chat' to='" + to + "'><body>" + text + "</body></message>");
  let acked = 0;
  const acknowledged = (h) => { unacked.splice(0, h - acked); acked = h; };
  const features = (text) => {
    if (text.includes("mechanisms")) return raw("<auth xmlns='" + SASL + "' mechanism='PLAIN'>" + btoa("\\0${user}\\0pw") + "</auth>");
    if (id !== null) return raw("<resume xmlns='urn:xmpp:sm:3' previd='" + id + "' h='" + handled + "'/>");
    raw("<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
  };
  const received = (text) => {
    const element = new DOMParser().parseFromString(text, "text/xml").documentElement;
    const name = element.localName;
    if (name === "features") features(text);
    else if (name === "success") raw(OPEN);
    else if (name === "enabled") { id = element.getAttribute("id"); online = true; stanza("<presence xmlns='jabber:client'/>"); ready(window.jid); }
    else if (name === "resumed") {
      window.resumes++;
      acknowledged(Number(element.getAttribute("h")));
      online = true;
      for (const text of unacked) raw(text);
    } else if (name === "r") raw("<a xmlns='urn:xmpp:sm:3' h='" + handled + "'/>");
    else if (name === "a") acknowledged(Number(element.getAttribute("h")));
    else if (element.getAttribute("id") === "bind" && id === null) {
      window.jid = element.querySelector("jid").textContent;
      raw("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    } else if (/^(message|presence|iq)$/.test(name) && online) {
      handled++;
      const body = element.querySelector("body");
      if (body) window.bodies.push(body.textContent);
    }
  };
  const connect = () => {
    socket = new WebSocket(${JSON.stringify(url)}, "xmpp");
    socket.onopen = () => raw(OPEN);
    socket.onmessage = ({ data }) => received(data);
    socket.onclose = () => { online = false; setTimeout(connect, 300); };
  };
  window.addEventListener("offline", () => { online = false; socket.close(); });
  connect();
})`;
