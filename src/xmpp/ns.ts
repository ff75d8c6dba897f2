/** Every namespace that Breakwater knows. Compare with `NS.sm`, never with a literal. */
export const NS = {
  client: "jabber:client", // RFC 6120 §4.8.2
  streams: "http://etherx.jabber.org/streams", // RFC 6120 §4.8.1
  streamErrors: "urn:ietf:params:xml:ns:xmpp-streams", // RFC 6120 §4.9
  stanzaErrors: "urn:ietf:params:xml:ns:xmpp-stanzas", // RFC 6120 §8.3
  tls: "urn:ietf:params:xml:ns:xmpp-tls", // RFC 6120 §5
  sasl: "urn:ietf:params:xml:ns:xmpp-sasl", // RFC 6120 §6
  sasl2: "urn:xmpp:sasl:2", // XEP-0388
  saslChannelBinding: "urn:xmpp:sasl-cb:0", // XEP-0440
  bind: "urn:ietf:params:xml:ns:xmpp-bind", // RFC 6120 §7
  session: "urn:ietf:params:xml:ns:xmpp-session", // RFC 3921 §3
  sm: "urn:xmpp:sm:3", // XEP-0198
  sm2: "urn:xmpp:sm:2", // XEP-0198 before 1.3
  csi: "urn:xmpp:csi:0", // XEP-0352
  ping: "urn:xmpp:ping", // XEP-0199
  delay: "urn:xmpp:delay", // XEP-0203
  compressFeature: "http://jabber.org/features/compress", // XEP-0138
  compress: "http://jabber.org/protocol/compress", // XEP-0138
  framing: "urn:ietf:params:xml:ns:xmpp-framing", // RFC 7395 §3.3.2
  httpBind: "http://jabber.org/protocol/httpbind", // XEP-0124
  xbosh: "urn:xmpp:xbosh", // XEP-0206
  xml: "http://www.w3.org/XML/1998/namespace",
  xmlns: "http://www.w3.org/2000/xmlns/",
} as const;
