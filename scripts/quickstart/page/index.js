// One pane for each of the first two accounts, side by side, and a switch between the transports.
const { accounts } = await (await fetch("/page/facts.json")).json();
const transport = new URLSearchParams(location.search).get("transport") === "bosh" ? "bosh" : "websocket";

for (const [name, text] of [
  ["websocket", "WebSocket"],
  ["bosh", "BOSH"],
]) {
  const link = document.createElement("a");
  Object.assign(link, { href: `/?transport=${name}`, textContent: text });
  if (name === transport) link.ariaCurrent = "page";
  document.querySelector("nav").append(link);
}

for (const jid of accounts.length > 0 ? accounts.slice(0, 2).map((account) => account.jid) : [""]) {
  const url = `/chat?${new URLSearchParams({ as: jid, transport })}`;
  const alone = document.createElement("a");
  Object.assign(alone, { href: url, target: "_blank", textContent: `${jid || "Log in"} ↗`, title: "Alone in a tab" });
  const frame = document.createElement("iframe");
  Object.assign(frame, { src: url, title: jid || "Log in" });
  const pane = document.createElement("section");
  pane.append(alone, frame);
  document.querySelector("main").append(pane);
}
