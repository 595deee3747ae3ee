// link.ts: one WebSocket after another: opens, notices that it is dead, waits, opens again.
//
// PICTURE
//            ┌───────────── lost ────────────┐
//   start ──> opening ── open ──> up ────────┴──> waiting ── its time, or the network is back ──> opening
//                  └─ refused for good (401, 404) ──> down
//
// Waits double from 250 ms to 15 s, each shortened by chance so that a thousand clients do not come
// back together; a page that becomes visible, a network that comes back or a laptop that wakes up
// does not wait. Pings are invisible to scripts, so a connection that was quiet for long is asked
// something harmless (probe), and is dead when it does not answer.
//
// ALWAYS TRUE  Messages reach `onMessage` in the order in which they were sent: those behind one that is
// still being decompressed wait for it.
import { openSocket, tellsStatus, type SocketLike } from '#socket';
import { PROTOCOLS } from './protocol.js';

/** In milliseconds. Not for applications; tests have less patience. */
export const TIMES = {
  waitFirst: 250,
  waitMost: 15_000,
  open: 15_000, // a server that does not answer the upgrade by then is taken for dead
  tick: 5_000,
  quiet: 30_000, // this long without a message: ask
  answer: 10_000, // and this long without an answer: dead
};

export interface LinkOptions {
  readonly uri: URL;
  readonly database: string;
  readonly compression: 'none' | 'gzip';
  readonly confirmed: boolean | undefined;
  readonly token: () => string | undefined;
}

export interface LinkEvents {
  onOpen(protocol: string): void;
  onMessage(data: Uint8Array): void;
  /** `retryMs`: when the next try begins; undefined when there will be none. */
  onDown(error: Error | undefined, retryMs: number | undefined): void;
  /** Send something that will be answered. */
  probe(): void;
}

/** The server does not want this client, and will not in a minute either. */
class RefusedError extends Error {}

type Timer = ReturnType<typeof setTimeout>;

// Timers must not keep a program in Node alive that has nothing else to do than wait.
function rest(timer: Timer): Timer {
  (timer as unknown as { unref?: () => void }).unref?.();
  return timer;
}

export class Link {
  private socket: SocketLike | undefined;
  private generation = 0; // what belongs to an earlier socket is ignored
  private tries = 0;
  private waiting: Timer | undefined;
  private opening: Timer | undefined;
  private ticking: Timer | undefined;
  private heardAt = 0;
  private askedAt = 0;
  private tickedAt = 0;
  private isUp = false;
  private isEnded = false;
  private decoding: Promise<void> | undefined;
  private readonly wake = () => this.onWake();

  constructor(
    private readonly options: LinkOptions,
    private readonly events: LinkEvents
  ) {}

  start(): void {
    const page = globalThis as unknown as { addEventListener?: typeof addEventListener; document?: Document };
    page.addEventListener?.('online', this.wake);
    page.addEventListener?.('pageshow', this.wake);
    page.document?.addEventListener?.('visibilitychange', this.wake);
    this.ticking = rest(setInterval(() => this.tick(), TIMES.tick));
    this.open();
  }

  end(): void {
    this.stop(undefined);
  }

  private stop(error: Error | undefined): void {
    if (this.isEnded) return;
    this.isEnded = true;
    const page = globalThis as unknown as { removeEventListener?: typeof removeEventListener; document?: Document };
    page.removeEventListener?.('online', this.wake);
    page.removeEventListener?.('pageshow', this.wake);
    page.document?.removeEventListener?.('visibilitychange', this.wake);
    clearInterval(this.ticking);
    clearTimeout(this.waiting);
    this.drop();
    this.events.onDown(error, undefined);
  }

  send(data: Uint8Array): void {
    this.socket?.send(data);
  }

  /** This connection is of no use: take another. */
  restart(why: Error): void {
    if (this.isUp) this.lost(why);
  }

  private drop(): void {
    this.generation++;
    clearTimeout(this.opening);
    const { socket } = this;
    this.socket = undefined;
    this.isUp = false;
    this.decoding = undefined;
    socket?.close();
  }

  private lost(error: Error): void {
    this.drop();
    if (this.isEnded) return;
    if (error instanceof RefusedError) return this.stop(error);
    const most = Math.min(TIMES.waitMost, TIMES.waitFirst * 2 ** this.tries++);
    const wait = Math.round(most / 2 + (Math.random() * most) / 2);
    this.waiting = setTimeout(() => this.open(), wait);
    this.events.onDown(error, wait);
  }

  private open(): void {
    clearTimeout(this.waiting);
    this.waiting = undefined;
    const generation = ++this.generation;
    const isCurrent = () => generation === this.generation && !this.isEnded;
    this.opening = setTimeout(() => {
      if (isCurrent()) this.lost(new Error('The server did not answer'));
    }, TIMES.open);
    this.address().then(
      address => isCurrent() && this.connect(address, isCurrent),
      (error: unknown) => isCurrent() && this.lost(error instanceof Error ? error : new Error(String(error)))
    );
  }

  // A WebSocket cannot carry a header, and addresses end up in logs; so a token that lives a minute goes
  // into the address in place of the one that lives for ever.
  private async address(): Promise<URL> {
    const { uri, database, compression, confirmed } = this.options;
    const address = new URL(`v1/database/${encodeURIComponent(database)}/subscribe`, uri);
    const token = this.options.token();
    if (token) address.searchParams.set('token', await this.shortToken(token));
    address.searchParams.set('compression', compression === 'gzip' ? 'Gzip' : 'None');
    if (confirmed !== undefined) address.searchParams.set('confirmed', String(confirmed));
    return address;
  }

  private async shortToken(token: string): Promise<string> {
    const address = this.httpAddress('v1/identity/websocket-token');
    const answer = await fetch(address, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
    if (answer.status === 401 || answer.status === 400)
      throw new RefusedError(`The server does not accept the token: ${await answer.text()}`);
    if (answer.status === 404) return token;
    if (!answer.ok) throw new Error(`${address.pathname} answered ${answer.status}`);
    return ((await answer.json()) as { token: string }).token;
  }

  private httpAddress(path: string): URL {
    const address = new URL(path, this.options.uri);
    address.protocol = address.protocol.replace('ws', 'http');
    return address;
  }

  // A WebSocket of a browser, of Deno or of Bun does not tell why it could not be opened. That there is no such
  // database can be asked, and is worth asking: trying again will not help.
  private async whyNotOpened(reason: string): Promise<Error> {
    const answer = await fetch(this.httpAddress(`v1/database/${encodeURIComponent(this.options.database)}`)).catch(() => undefined);
    if (answer?.status !== 404) return new Error(reason);
    const text = await answer.text().catch(() => '');
    return new RefusedError(`The server answered 404: ${text.trim().slice(0, 1000)}`);
  }

  private connect(address: URL, isCurrent: () => boolean): void {
    const socket = openSocket(address.href, PROTOCOLS, {
      open: protocol => {
        if (!isCurrent()) return;
        clearTimeout(this.opening);
        this.isUp = true;
        this.heardAt = Date.now();
        this.askedAt = 0;
        this.events.onOpen(protocol);
      },
      message: data => isCurrent() && this.take(data, isCurrent),
      close: (reason, status) => {
        if (!isCurrent()) return;
        if (!this.isUp && status === undefined && !tellsStatus) {
          void this.whyNotOpened(reason).then(error => isCurrent() && this.lost(error));
          return;
        }
        const isRefused = status === 401 || status === 403 || status === 404 || status === 400;
        this.lost(isRefused ? new RefusedError(reason) : new Error(reason));
      },
    });
    this.socket = socket;
  }

  /** The connection has proved itself; the next loss begins with a short wait again. */
  settled(): void {
    this.tries = 0;
  }

  private take(data: Uint8Array, isCurrent: () => boolean): void {
    this.heardAt = Date.now();
    this.askedAt = 0;
    const body = data.subarray(1);
    const isPlain = data[0] === 0;
    if (isPlain && !this.decoding) return this.events.onMessage(body);
    // One after another, and only as long as something is being decompressed.
    const before = this.decoding ?? Promise.resolve();
    const unpacked = isPlain ? body : unpack(data[0]!, body);
    const mine: Promise<void> = before
      .then(() => unpacked)
      .then(
        plain => {
          if (this.decoding === mine) this.decoding = undefined;
          if (isCurrent()) this.events.onMessage(plain);
        },
        (error: unknown) => {
          if (isCurrent()) this.lost(error as Error);
        }
      );
    if (!isPlain) (unpacked as Promise<Uint8Array>).catch(() => {});
    this.decoding = mine;
  }

  private tick(): void {
    const now = Date.now();
    const slept = this.tickedAt !== 0 && now - this.tickedAt > 3 * TIMES.tick;
    this.tickedAt = now;
    if (slept) this.onWake();
    if (!this.isUp) return;
    if (this.askedAt !== 0 && now - this.askedAt > TIMES.answer)
      this.lost(new Error(`The server has been silent for ${Math.round((now - this.heardAt) / 1000)} s`));
    else if (this.askedAt === 0 && now - this.heardAt > TIMES.quiet) this.ask();
  }

  private ask(): void {
    this.askedAt = Date.now();
    this.events.probe();
  }

  // The network, the page or the machine is back: do not wait, and do not trust what was there before.
  private onWake(): void {
    if (this.isEnded) return;
    const page = (globalThis as unknown as { document?: Document }).document;
    if (page?.visibilityState === 'hidden') return;
    if (this.isUp) {
      if (this.askedAt === 0 && Date.now() - this.heardAt > TIMES.tick) this.ask();
    } else if (this.waiting !== undefined) {
      this.tries = Math.min(this.tries, 1);
      this.open();
    }
  }
}

async function unpack(tag: number, body: Uint8Array): Promise<Uint8Array> {
  if (tag !== 2) throw new Error(`The server compressed with method ${tag}, which was not asked for`);
  const plain = new Blob([body as BlobPart]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}
