/** Two streams of realistic traffic, made from a fixed seed: 60 % messages, 25 % presences, 15 % iqs. */

const HEADER =
  "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' " +
  "from='chat.example' id='c0ffee' version='1.0'>";
const FOOTER = "</stream:stream>";

const LATIN = (
  "the of and to in is you that it he was for on are as with his they at be this have from or one had by word but not " +
  "what all were we when your can said there use an each which she do how their if will up other about out many then " +
  "them these so some her would make like him into time has look two more café über naïve señor schön größer là déjà"
).split(" ");
/** One script each: nobody mixes them word by word. */
const SCRIPTS = [
  "Привет как дела завтра встречаемся вечером возле станции хорошо спасибо не знаю может быть позвоню 👍",
  "今日は とても いい 天気 ですね 明日 また 会いましょう ありがとう ございます 駅前で 待ってます 😀",
  "你好 明天 见面 吧 我们 一起 吃饭 好的 没问题 晚上 七点 在 老地方 等 你 🎉",
  "안녕하세요 내일 만나요 저녁에 시간 있어요 네 좋아요 감사합니다",
  "καλημέρα ευχαριστώ τι κάνεις σήμερα το βράδυ θα έρθω αργότερα 👨‍👩‍👧",
].map((words) => words.split(" "));

export interface Corpus {
  readonly name: string;
  readonly bytes: Buffer;
  readonly stanzas: number;
}

/** Numbers in [0, 1), the same ones for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

class Writer {
  readonly #random: () => number;
  readonly #scripts: readonly (readonly string[])[];
  /** Words of the longest body. */
  readonly #longest: number;

  constructor(seed: number, scripts: readonly (readonly string[])[], longest: number) {
    this.#random = randomFrom(seed);
    this.#scripts = scripts;
    this.#longest = longest;
  }

  below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  hex(digits: number): string {
    let text = "";
    while (text.length < digits) text += this.below(16).toString(16);
    return text;
  }

  jid(): string {
    return `user${this.below(900)}@chat.example/phone.${this.hex(6)}`;
  }

  text(words: number): string {
    const script = this.#scripts[this.below(this.#scripts.length)]!;
    return Array.from({ length: words }, () => script[this.below(script.length)]).join(" ");
  }

  message(): string {
    const id = this.hex(16);
    let children = `<body>${this.text(3 + this.below(this.#longest))}${this.below(4) === 0 ? " &amp; you?" : ""}</body>`;
    if (this.below(4) === 0) children += `<thread>${this.hex(12)}</thread>`;
    if (this.below(3) > 0) children += "<request xmlns='urn:xmpp:receipts'/>";
    if (this.below(3) > 0) children += "<active xmlns='http://jabber.org/protocol/chatstates'/>";
    if (this.below(3) === 0) children += `<origin-id xmlns='urn:xmpp:sid:0' id='${id}'/>`;
    if (this.below(3) === 0)
      children += `<delay xmlns='urn:xmpp:delay' from='chat.example' stamp='2025-02-0${1 + this.below(9)}T12:34:56Z'/>`;
    if (this.below(4) === 0) children += `<stanza-id xmlns='urn:xmpp:sid:0' by='${this.jid()}' id='${this.hex(24)}'/>`;
    return `<message from='${this.jid()}' to='${this.jid()}' id='${id}' type='chat' xml:lang='en'>${children}</message>`;
  }

  presence(): string {
    const from = `<presence from='${this.jid()}' to='${this.jid()}'`;
    if (this.below(5) === 0) return `${from} type='unavailable'/>`;
    let children = `<show>away</show><status>${this.text(1 + this.below(5))}</status><priority>5</priority>`;
    if (this.below(2) === 0) {
      children += `<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.example' ver='${this.hex(28)}'/>`;
    }
    if (this.below(3) === 0) children += `<x xmlns='vcard-temp:x:update'><photo>${this.hex(40)}</photo></x>`;
    return `${from}>${children}</presence>`;
  }

  iq(): string {
    const start = `<iq from='${this.jid()}' to='${this.jid()}' id='${this.hex(8)}'`;
    if (this.below(3) === 0) return `${start} type='get'><ping xmlns='urn:xmpp:ping'/></iq>`;
    if (this.below(4) === 0) return `${start} type='result'/>`;
    let items = "";
    for (let i = 1 + this.below(9); i > 0; i--) {
      items += `<item jid='user${this.below(900)}@chat.example' name='${this.text(2)}' subscription='both'><group>${this.text(1)}</group></item>`;
    }
    return `${start} type='result'><query xmlns='jabber:iq:roster' ver='${this.hex(4)}'>${items}</query></iq>`;
  }
}

function corpus(name: string, size: number, scripts: readonly (readonly string[])[], longest: number): Corpus {
  const writer = new Writer(7, scripts, longest);
  const parts = [HEADER];
  let length = 0;
  while (length < size) {
    const pick = writer.below(100);
    const stanza = pick < 60 ? writer.message() : pick < 85 ? writer.presence() : writer.iq();
    parts.push(stanza);
    length += Buffer.byteLength(stanza);
  }
  return { name, bytes: Buffer.from(parts.join("") + FOOTER), stanzas: parts.length - 1 };
}

/** `size` bytes each: one as in western traffic, one whose text is mostly Cyrillic, CJK and emoji. */
export function framerCorpora(size: number): Corpus[] {
  return [corpus("latin", size, [LATIN], 14), corpus("world", size, SCRIPTS, 40)];
}
