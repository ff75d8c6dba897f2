/** How long a test waits for what should come at once. Generous: the machine may be busy. */
export const PATIENCE_MS = 60_000;

interface Waiter<T> {
  readonly wants: (item: T) => boolean;
  readonly resolve: (item: T) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** What has arrived and nobody has taken yet, in order; and those who wait for something to arrive. */
export class Mailbox<T> {
  readonly items: T[] = [];
  #waiters: Waiter<T>[] = [];
  #closed: string | null = null;
  #show: (item: T) => string;

  constructor(show: (item: T) => string = String) {
    this.#show = show;
  }

  push(item: T): void {
    const index = this.#waiters.findIndex((waiter) => waiter.wants(item));
    if (index < 0) this.items.push(item);
    else this.#settle(index).resolve(item);
  }

  /** Takes the first item that `wants` accepts, now or when it comes. What lies before it stays. */
  take(wants: (item: T) => boolean, what: string, patienceMs = PATIENCE_MS): Promise<T> {
    const index = this.items.findIndex(wants);
    if (index >= 0) return Promise.resolve(this.items.splice(index, 1)[0]!);
    const started = performance.now();
    const complain = (why: string) => {
      const waited = Math.round(performance.now() - started);
      return new Error(`${why} while waiting for ${what} (${waited} ms); unread: ${this.describe()}`);
    };
    if (this.#closed !== null) return Promise.reject(complain(this.#closed));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(complain("patience ended"));
      }, patienceMs);
      const waiter: Waiter<T> = { wants, resolve, reject: (error) => reject(complain(error.message)), timer };
      this.#waiters.push(waiter);
    });
  }

  /** The next `count` items, in order. */
  async next(count: number, what = "the next", patienceMs?: number): Promise<T[]> {
    const items: T[] = [];
    while (items.length < count) {
      items.push(await this.take(() => true, `${what} (${items.length + 1} of ${count})`, patienceMs));
    }
    return items;
  }

  /** Nothing more will come: whoever still waits is told `why`. */
  close(why: string): void {
    this.#closed = why;
    while (this.#waiters.length > 0) this.#settle(0).reject(new Error(why));
  }

  describe(): string {
    const shown = this.items.slice(0, 10).map((item) => this.#show(item).slice(0, 300));
    if (this.items.length > 10) shown.push(`and ${this.items.length - 10} more`);
    return shown.length > 0 ? shown.join(" | ") : "nothing";
  }

  #settle(index: number): Waiter<T> {
    const [waiter] = this.#waiters.splice(index, 1);
    clearTimeout(waiter!.timer);
    return waiter!;
  }
}
