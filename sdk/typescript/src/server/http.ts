// http.ts: requests that procedures make, and requests that handlers answer. Everything is here when it is
// here: no promises.
import * as sys from 'spacetime:sys@2.0';
import { Reader, Writer } from '../core/bytes.js';
import type { TimeDuration } from '../core/ids.js';

export type HeadersInit = Headers | Readonly<Record<string, string>> | Iterable<readonly [string, string]>;
export type BodyInit = string | Uint8Array | ArrayBuffer | null;

/** Headers of a message: names in any case, several values for one name. */
export class Headers {
  private list: [string, string][] = [];
  constructor(init?: HeadersInit) {
    if (!init) return;
    const entries = init instanceof Headers || Symbol.iterator in init ? (init as Iterable<[string, string]>) : Object.entries(init);
    for (const [name, value] of entries) this.append(name, value);
  }
  append(name: string, value: string): void {
    this.list.push([name.toLowerCase(), String(value)]);
  }
  set(name: string, value: string): void {
    this.delete(name);
    this.append(name, value);
  }
  delete(name: string): void {
    const wanted = name.toLowerCase();
    this.list = this.list.filter(([other]) => other !== wanted);
  }
  /** All values of the name, joined by commas. */
  get(name: string): string | null {
    const wanted = name.toLowerCase();
    const values = this.list.filter(([other]) => other === wanted).map(([, value]) => value);
    return values.length > 0 ? values.join(', ') : null;
  }
  has(name: string): boolean {
    return this.get(name) !== null;
  }
  forEach(visit: (value: string, name: string) => void): void {
    for (const [name, value] of this.list) visit(value, name);
  }
  entries(): IterableIterator<[string, string]> {
    return this.list.values() as IterableIterator<[string, string]>;
  }
  [Symbol.iterator](): IterableIterator<[string, string]> {
    return this.entries();
  }
}

const utf8 = () => new TextDecoder();
const bytesOf = (body: BodyInit | undefined): Uint8Array =>
  typeof body === 'string'
    ? new TextEncoder().encode(body)
    : body instanceof ArrayBuffer
      ? new Uint8Array(body)
      : (body ?? new Uint8Array(0));

class Body {
  constructor(private readonly content: Uint8Array) {}
  bytes(): Uint8Array {
    return this.content.slice();
  }
  arrayBuffer(): ArrayBuffer {
    return this.bytes().buffer as ArrayBuffer;
  }
  text(): string {
    return utf8().decode(this.content);
  }
  json(): any {
    return JSON.parse(this.text());
  }
}

export interface ResponseInit {
  readonly status?: number;
  readonly statusText?: string;
  readonly headers?: HeadersInit;
}
/** An answer, whole. */
export class SyncResponse extends Body {
  readonly status: number;
  readonly statusText: string;
  readonly headers: Headers;
  constructor(body?: BodyInit, init: ResponseInit = {}) {
    super(bytesOf(body));
    this.status = init.status ?? 200;
    this.statusText = init.statusText ?? '';
    this.headers = new Headers(init.headers);
  }
  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }
}

export interface RequestInit {
  readonly method?: string;
  readonly headers?: HeadersInit;
  readonly body?: BodyInit | undefined;
}
/** A question, whole. */
export class Request extends Body {
  readonly method: string;
  readonly headers: Headers;
  constructor(
    readonly uri: string,
    init: RequestInit = {}
  ) {
    super(bytesOf(init.body));
    this.method = init.method ?? 'GET';
    this.headers = new Headers(init.headers);
  }
  get url(): string {
    return this.uri;
  }
}

// ---- as bytes

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'];
const HTTP_1_1 = 2;

export function writeMethod(w: Writer, method: string): void {
  const known = METHODS.indexOf(method);
  w.u8(known >= 0 ? known : METHODS.length);
  if (known < 0) w.string(method);
}
function readMethod(r: Reader): string {
  const tag = r.u8();
  return METHODS[tag] ?? (tag === METHODS.length ? r.string() : r.badTag(tag, 'Method'));
}
function writeHeaders(w: Writer, headers: Headers): void {
  w.array([...headers], (w, [name, value]) => {
    w.string(name);
    w.bytes(new TextEncoder().encode(value));
  });
}
function readHeaders(r: Reader): Headers {
  const headers = new Headers();
  for (const [name, value] of r.array(r => [r.string(), utf8().decode(r.subarray())] as const))
    headers.append(name, value);
  return headers;
}

export function readRequest(request: Uint8Array, body: Uint8Array): Request {
  const r = new Reader(request);
  const method = readMethod(r);
  const headers = readHeaders(r);
  if (r.some()) r.timeDuration();
  return new Request(r.string(), { method, headers, body });
}

export function responseBytes(response: SyncResponse): [Uint8Array, Uint8Array] {
  const w = new Writer();
  writeHeaders(w, response.headers);
  w.u8(HTTP_1_1);
  w.u16(response.status);
  return [w.finish(), response.bytes()];
}

export interface FetchOptions extends RequestInit {
  readonly timeout?: TimeDuration | undefined;
}
export function fetchNow(url: string, options: FetchOptions = {}): SyncResponse {
  const w = new Writer();
  writeMethod(w, (options.method ?? 'GET').toUpperCase());
  writeHeaders(w, new Headers(options.headers));
  w.option(options.timeout, (w, timeout) => w.timeDuration(timeout));
  w.string(url);
  w.u8(HTTP_1_1);
  const [answer, body] = sys.procedure_http_request(w.finish(), bytesOf(options.body));
  const r = new Reader(answer);
  const headers = readHeaders(r);
  r.u8();
  return new SyncResponse(body, { status: r.u16(), headers });
}

// ---- routes

export interface Route {
  readonly method: string | undefined; // undefined: any
  readonly path: string;
  readonly handler: unknown;
}
/** Which handler answers what. Paths are compared exactly. */
export class Router {
  constructor(readonly routes: readonly Route[] = []) {}
  route(method: string | undefined, path: string, handler: unknown): Router {
    return new Router([...this.routes, { method, path, handler }]);
  }
  any(path: string, handler: unknown): Router {
    return this.route(undefined, path, handler);
  }
  get(path: string, handler: unknown): Router {
    return this.route('GET', path, handler);
  }
  head(path: string, handler: unknown): Router {
    return this.route('HEAD', path, handler);
  }
  post(path: string, handler: unknown): Router {
    return this.route('POST', path, handler);
  }
  put(path: string, handler: unknown): Router {
    return this.route('PUT', path, handler);
  }
  patch(path: string, handler: unknown): Router {
    return this.route('PATCH', path, handler);
  }
  delete(path: string, handler: unknown): Router {
    return this.route('DELETE', path, handler);
  }
  options(path: string, handler: unknown): Router {
    return this.route('OPTIONS', path, handler);
  }
  merge(other: Router): Router {
    return new Router([...this.routes, ...other.routes]);
  }
  /** The other's routes behind a path of their own. */
  nest(path: string, other: Router): Router {
    return this.merge(new Router(other.routes.map(route => ({ ...route, path: path + route.path }))));
  }
}
