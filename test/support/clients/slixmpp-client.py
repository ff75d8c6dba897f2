"""slixmpp, driven by lines of JSON: {"id": 1, "do": "message", ...} in, {"id": 1} or {"event": ...} out."""
import asyncio
import json
import ssl
import sys

from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError, IqTimeout

PLUGINS = ["xep_0030", "xep_0045", "xep_0054", "xep_0092", "xep_0198", "xep_0199", "xep_0203", "xep_0280"]


def report(**fields):
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


class Client(ClientXMPP):
    def __init__(self, options):
        super().__init__(options["jid"], options["password"], sasl_mech=options.get("mechanism"))
        self.options = options
        for plugin in PLUGINS:
            self.register_plugin(plugin)
        self.ca_certs = options["ca"]
        # slixmpp verifies the chain but not the name unless told.
        self.ssl_context.verify_mode = ssl.CERT_REQUIRED
        self.ssl_context.check_hostname = True
        if options["tls"] == "direct":
            self.ssl_context.set_alpn_protocols(["xmpp-client"])
        self.ready = None
        self.add_event_handler("session_start", lambda _: self.started("new"))
        self.add_event_handler("session_resumed", lambda _: self.started("resumed"))
        self.add_event_handler("failed_all_auth", lambda _: self.refused("not-authorized"))
        self.add_event_handler("ssl_invalid_chain", lambda error: self.refused(str(error)))
        self.add_event_handler("connection_failed", lambda error: self.refused(str(error)))
        self.add_event_handler("stream_error", lambda error: report(event="stream-error", condition=error["condition"]))
        self.add_event_handler("disconnected", self.lost)
        self.add_event_handler("message", self.chat)
        self.add_event_handler("presence", self.seen)
        self.add_event_handler("sm_enabled", lambda stanza: report(event="sm-enabled", previd=stanza["id"]))
        self.add_event_handler("stanza_acked", lambda stanza: report(event="acked", id_acked=stanza["id"]))

    async def _pick_dns_answer(self, domain, service=None):
        return None  # the address is given: ask no name server

    def started(self, how):
        if self.ready and not self.ready.done():
            self.ready.set_result(how)

    def refused(self, why):
        if self.ready and not self.ready.done():
            self.ready.set_exception(RuntimeError(why))

    def lost(self, reason):
        report(event="disconnected", reason=str(reason or ""))
        self.refused("disconnected: %s" % reason)

    def chat(self, message):
        if message["body"]:
            fields = {"from": str(message["from"]), "body": message["body"], "type": message["type"]}
            report(event="message", **{"id": message["id"] or None}, **fields)

    def seen(self, presence):
        fields = {"from": str(presence["from"]), "type": presence["type"], "status": presence["status"]}
        report(event="presence", **fields)

    async def login(self):
        self.ready = self.loop.create_future()
        direct = self.options["tls"] == "direct"
        address = (self.options["host"], self.options["port"])
        self.connect(address, use_ssl=direct, force_starttls=not direct, disable_starttls=direct)
        how = await self.ready
        return {"how": how, "jid": str(self.boundjid)}


async def iq(coroutine):
    try:
        return await coroutine
    except IqError as error:
        raise RuntimeError(error.iq["error"]["condition"])
    except IqTimeout:
        raise RuntimeError("timeout")


class Commands:
    """Each method is a command; what it returns goes into the answer."""

    def __init__(self):
        self.client = None

    async def connect(self, **options):
        self.client = Client(options)
        return await self.client.login()

    async def reconnect(self, host, port):
        self.client.options.update(host=host, port=port)
        return await self.client.login()

    async def presence(self, status=None):
        self.client.send_presence(pstatus=status)

    async def message(self, to, body, type="chat"):
        self.client.send_message(mto=to, mbody=body, mtype=type)

    async def ping(self, to):
        await iq(self.client["xep_0199"].send_ping(to))

    async def roster(self):
        # With versioning the answer is empty when pushes have told everything: slixmpp's own copy is the whole.
        await iq(self.client.get_roster())
        roster = self.client.client_roster
        return {"items": {jid: roster[jid]["subscription"] for jid in roster.keys() if jid != self.client.boundjid.bare}}

    async def roster_add(self, jid, name):
        request = self.client.make_iq_set()
        request["roster"]["items"] = {jid: {"name": name, "subscription": None}}
        await iq(request.send())

    async def disco(self, to):
        info = (await iq(self.client["xep_0030"].get_info(jid=to)))["disco_info"]
        return {"features": sorted(info["features"]), "identities": sorted(i[1] for i in info["identities"])}

    async def set_vcard(self, name):
        card = self.client["xep_0054"].make_vcard()
        card["FN"] = name
        await iq(self.client["xep_0054"].publish_vcard(card))

    async def vcard(self, jid):
        answer = await iq(self.client["xep_0054"].get_vcard(jid, cached=False))
        return {"name": answer["vcard_temp"]["FN"]}

    async def version(self, to):
        answer = await iq(self.client["xep_0092"].get_version(to))
        return {"name": answer["software_version"]["name"]}

    async def join(self, room, nick):
        await self.client["xep_0045"].join_muc_wait(room, nick, maxstanzas=0, timeout=15)

    async def leave(self, room, nick):
        self.client["xep_0045"].leave_muc(room, nick)

    async def cut(self):
        gone = self.client.disconnected
        self.client.transport.abort()
        await gone

    async def stop(self):
        if self.client and self.client.transport:
            await self.client.disconnect(wait=5)


async def answer(commands, request):
    number, name = request.pop("id"), request.pop("do")
    try:
        report(id=number, **((await getattr(commands, name)(**request)) or {}))
    except Exception as error:  # whatever it is, the test shall read it
        report(id=number, error=str(error) or repr(error))


async def main():
    reader = asyncio.StreamReader(limit=1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    commands, tasks = Commands(), set()
    while line := await reader.readline():
        task = asyncio.ensure_future(answer(commands, json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


asyncio.get_event_loop().run_until_complete(main())
