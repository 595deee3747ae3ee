// support.mjs: what the tests of the server's own doors need: modules built from a string, HTTP
// without a client library's opinions, BSATN, and a WebSocket client that can misbehave.
//
// Servers and waiting come from harness.mjs.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { connect as tcpConnect } from 'node:net';
import { join } from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { sleep, startServer, top, until } from './harness.mjs';
import { decodeV1 } from './v1.mjs';

export { sleep, startServer, until };

// A reason to wait longer: a sanitized server, a machine with better things to do.
export const patience = Number(process.env.PATIENCE ?? 1) * 30_000;

// `promise`, or an error that says what was waited for.
export async function within(promise, what, ms = patience) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms in vain for ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

// ---- modules

const bundles = join(top, 'build/test/bundles');

// TypeScript on the npm module library, bundled as `lightcone build` does. Kept by content. `words`
// are more for the bundler. LIBRARY=lightcone: on our own library, whatever the source says.
export function bundle(source, ...words) {
  if (process.env.LIBRARY === 'lightcone') words.push(...onOurLibrary());
  mkdirSync(bundles, { recursive: true });
  const content = [source, ...words].join('\0');
  const file = join(bundles, `${createHash('sha256').update(content).digest('hex').slice(0, 24)}.js`);
  if (!existsSync(file)) {
    const making = `${file}.${process.pid}`;
    execFileSync(
      join(top, 'build/tools/node_modules/.bin/esbuild'),
      [
        '--bundle', '--format=esm', '--platform=neutral', '--target=es2022', '--loader=ts',
        '--conditions=production,import,default', '--main-fields=module,main',
        '--external:spacetime:*', '--define:process.env.NODE_ENV="production"',
        '--legal-comments=none', '--log-level=warning', ...words, `--outfile=${making}`,
      ],
      { input: source, cwd: join(top, 'tests'), stdio: ['pipe', 'ignore', 'inherit'] }
    );
    renameSync(making, file);
  }
  return readFileSync(file, 'utf8');
}

// A module of tests/modules.
export function moduleCode(name, ...words) {
  return bundle(readFileSync(join(top, 'tests/modules', name, 'src/index.ts'), 'utf8'), ...words);
}

// Words that make the bundler take our library where a source says `spacetimedb`. What is kept is kept by
// what the library is, too.
export function onOurLibrary() {
  const built = statSync(join(top, 'sdk/typescript/dist/.built')).mtimeMs;
  return ['--alias:spacetimedb=lightcone', `--define:LIBRARY_BUILT=${built}`];
}

// ---- HTTP

// One request on a connection of its own, as text or bytes; the answer with its headers as an object.
export async function http(server, method, path, { token, body, headers = {} } = {}) {
  const all = { ...headers };
  if (token) all.authorization = `Bearer ${token}`;
  const answer = await within(
    fetch(server.url + path, { method, body, headers: all, redirect: 'manual' }),
    `${method} ${path}`,
    patience * 3
  );
  const text = await answer.text();
  return {
    status: answer.status,
    headers: Object.fromEntries(answer.headers),
    text,
    get json() {
      return JSON.parse(text);
    },
  };
}

// Bytes as they are, on a bare socket: everything the server says until it closes.
export async function rawHttp(server, bytes, { end = false } = {}) {
  const socket = tcpConnect(server.port, '127.0.0.1');
  let said = '';
  socket.on('data', data => (said += data.toString('latin1')));
  socket.write(bytes);
  if (end) socket.end();
  await within(new Promise(resolve => socket.on('close', resolve).on('error', () => {})), 'the server to close');
  return said;
}

export async function newIdentity(server) {
  const answer = await http(server, 'POST', '/v1/identity');
  assert.equal(answer.status, 200);
  return answer.json;
}

// Publish a JavaScript module. Gives the whole answer; see published() for the happy case.
export function publish(server, name, code, { token, query = '', method = 'PUT' } = {}) {
  const path = name ? `/v1/database/${name}` : '/v1/database';
  return http(server, method, `${path}?host_type=Js${query}`, { token, body: code });
}

// The identity of the database.
export async function published(server, name, code, options) {
  const answer = await publish(server, name, code, options);
  assert.equal(answer.status, 200, answer.text);
  return answer.json.Success.database_identity;
}

export function call(server, database, reducer, args = [], token) {
  return http(server, 'POST', `/v1/database/${database}/call/${reducer}`, {
    token,
    body: typeof args === 'string' ? args : JSON.stringify(args),
    headers: { 'content-type': 'application/json' },
  });
}

export async function callOk(server, database, reducer, args, token) {
  const answer = await call(server, database, reducer, args, token);
  assert.equal(answer.status, 200, answer.text);
}

export function sql(server, database, query, token) {
  return http(server, 'POST', `/v1/database/${database}/sql`, { token, body: query });
}

export async function rows(server, database, query, token) {
  const answer = await sql(server, database, query, token);
  assert.equal(answer.status, 200, answer.text);
  return answer.json[0].rows;
}

// The records of a database's log.
export async function logs(server, database, token, query = '') {
  const answer = await http(server, 'GET', `/v1/database/${database}/logs${query}`, { token });
  assert.equal(answer.status, 200, answer.text);
  return answer.text.split('\n').filter(Boolean).map(line => JSON.parse(line));
}

// ---- BSATN

export class Writer {
  parts = [];
  put(size, write) {
    const bytes = Buffer.alloc(size);
    write(bytes);
    this.parts.push(bytes);
    return this;
  }
  u8(v) { return this.put(1, b => b.writeUInt8(v)); }
  u16(v) { return this.put(2, b => b.writeUInt16LE(v)); }
  u32(v) { return this.put(4, b => b.writeUInt32LE(v)); }
  u64(v) { return this.put(8, b => b.writeBigUInt64LE(BigInt(v))); }
  raw(bytes) { this.parts.push(Buffer.from(bytes)); return this; }
  bytes(bytes) { return this.u32(bytes.length).raw(bytes); }
  str(text) { return this.bytes(Buffer.from(text)); }
  done() { return Buffer.concat(this.parts); }
}
export const w = () => new Writer();

export class Reader {
  at = 0;
  constructor(buffer) { this.b = buffer; }
  take(n) {
    assert.ok(this.at + n <= this.b.length, 'the message is cut short');
    this.at += n;
    return this.b.subarray(this.at - n, this.at);
  }
  get left() { return this.b.length - this.at; }
  u8() { return this.take(1)[0]; }
  u16() { return this.take(2).readUInt16LE(); }
  u32() { return this.take(4).readUInt32LE(); }
  u64() { return this.take(8).readBigUInt64LE(); }
  i64() { return this.take(8).readBigInt64LE(); }
  bytes() { return this.take(this.u32()); }
  str() { return this.bytes().toString(); }
  hex(n) { return Buffer.from(this.take(n)).reverse().toString('hex'); }
  list(each) { return Array.from({ length: this.u32() }, () => each(this)); }
}

// ---- messages of v2 and v3

export const enc = {
  subscribe: (request, set, ...queries) =>
    queries.reduce((out, q) => out.str(q), w().u8(0).u32(request).u32(set).u32(queries.length)).done(),
  unsubscribe: (request, set, drop = false) => w().u8(1).u32(request).u32(set).u8(drop ? 1 : 0).done(),
  oneOff: (request, query) => w().u8(2).u32(request).str(query).done(),
  call: (request, reducer, args = Buffer.alloc(0)) =>
    w().u8(3).u32(request).u8(0).str(reducer).bytes(args).done(),
  callOnce: (request, session, number, settled, reducer, args = Buffer.alloc(0)) =>
    w().u8(5).u32(request).raw(session).u64(number).u64(settled).str(reducer).bytes(args).done(),
  resume: (request, history, offset, sets) =>
    sets.reduce(
      (out, { set, queries }) => queries.reduce((o, q) => o.str(q), out.u32(set).u32(queries.length)),
      w().u8(6).u32(request).raw(history).u64(offset).u32(sets.length)
    ).done(),
  procedure: (request, name, args = Buffer.alloc(0)) =>
    w().u8(4).u32(request).u8(0).str(name).bytes(args).done(),
};

// Rows as hex strings. The hint is checked against the data as every client would slice it.
export function rowList(r) {
  if (r.u8() === 0) {
    const size = r.u16();
    const data = r.bytes();
    assert.ok(size > 0 && data.length % size === 0, 'a fixed size that does not divide the rows');
    return Array.from({ length: data.length / size }, (_, i) => data.subarray(i * size, (i + 1) * size).toString('hex'));
  }
  const starts = r.list(x => Number(x.u64()));
  const data = r.bytes();
  assert.ok(starts.length === 0 ? data.length === 0 : starts[0] === 0);
  return starts.map((from, i) => data.subarray(from, starts[i + 1] ?? data.length).toString('hex'));
}
const tableRows = r => ({ table: r.str(), rows: rowList(r) });
// Of a resume: how is 0 rows, 1 keys (rows that have them and mean nothing else), 2 whole.
const tableSince = r => ({ table: r.str(), how: r.u8(), gone: rowList(r), rows: rowList(r) });
const updateRows = r =>
  r.u8() === 0 ? { inserts: rowList(r), deletes: rowList(r) } : { events: rowList(r) };
const update = r =>
  r.list(x => ({ set: x.u32(), tables: x.list(y => ({ table: y.str(), rows: y.list(updateRows) })) }));
export const option = (r, read) => (r.u8() === 0 ? read(r) : null);

function outcome(r) {
  switch (r.u8()) {
    case 0: return { ok: true, returned: r.bytes().length, update: update(r) };
    case 1: return { ok: true, empty: true };
    case 2: return { err: new Reader(r.bytes()).str() };
    case 3: return { internal: r.str() };
  }
  throw new Error('an outcome that is not one');
}

function serverMessage(r) {
  switch (r.u8()) {
    case 0: return { kind: 'initial', identity: r.hex(32), connection: r.hex(16), token: r.str() };
    case 1: return { kind: 'subscribed', request: r.u32(), set: r.u32(), tables: r.list(tableRows) };
    case 2: return { kind: 'unsubscribed', request: r.u32(), set: r.u32(), tables: option(r, x => x.list(tableRows)) };
    case 3: return { kind: 'refused', request: option(r, x => x.u32()), set: r.u32(), error: r.str() };
    case 4: return { kind: 'update', sets: update(r) };
    case 5: {
      const request = r.u32();
      return r.u8() === 0 ? { kind: 'rows', request, tables: r.list(tableRows) } : { kind: 'rows', request, error: r.str() };
    }
    case 6: return { kind: 'result', request: r.u32(), timestamp: r.i64(), ...outcome(r) };
    case 7: {
      const status = r.u8() === 0 ? { returned: r.bytes() } : { internal: r.str() };
      return { kind: 'procedure', ...status, timestamp: r.i64(), duration: r.i64(), request: r.u32() };
    }
    case 8: return { kind: 'resumed', request: r.u32(), ...(r.u8() === 0 ? { tables: r.list(tableSince) } : { error: r.str() }) };
    case 9: return { kind: 'progress', history: Buffer.from(r.take(16)), offset: r.u64() };
  }
  throw new Error('a message of no known kind');
}

// A payload without its compression tag. Who asked for no compression takes tag 0 only.
export const PACKINGS = ['None', 'Brotli', 'Gzip'];
export function unpack(payload, allowed) {
  const packing = PACKINGS[payload[0]], body = payload.subarray(1);
  assert.ok(packing === 'None' || packing === allowed, `the compression tag ${payload[0]}`);
  if (packing === 'None') return body;
  return packing === 'Gzip' ? gunzipSync(body) : brotliDecompressSync(body);
}

// Every message of a WebSocket payload: exactly one under v1 and v2, one or more under v3.
export function decode(payload, protocol, text = false, packing = 'None') {
  assert.equal(text, protocol === 'v1.json', 'text frames are of v1.json, and it has no others');
  const body = text ? payload : unpack(payload, packing);
  if (protocol.startsWith('v1')) return [decodeV1(body, text)];
  const r = new Reader(body);
  const out = [];
  do {
    const from = r.at;
    const message = serverMessage(r);
    Object.defineProperty(message, 'hex', { value: r.b.subarray(from, r.at).toString('hex') });
    out.push(message);
  } while (r.left > 0);
  if (protocol === 'v2') assert.equal(out.length, 1, 'one message a payload under v2');
  return out;
}

// ---- a WebSocket client that does what it is told

export const OP = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

export function frame(opcode, payload = Buffer.alloc(0), { fin = true, rsv = 0, mask = true } = {}) {
  const body = Buffer.from(payload);
  const head = [(fin ? 0x80 : 0) | (rsv << 4) | opcode];
  const bit = mask ? 0x80 : 0;
  if (body.length < 126) head.push(bit | body.length);
  else if (body.length < 65536) head.push(bit | 126, body.length >> 8, body.length & 255);
  else {
    const long = Buffer.alloc(8);
    long.writeBigUInt64BE(BigInt(body.length));
    head.push(bit | 127, ...long);
  }
  if (!mask) return Buffer.concat([Buffer.from(head), body]);
  const key = randomBytes(4);
  for (let i = 0; i < body.length; i++) body[i] ^= key[i & 3];
  return Buffer.concat([Buffer.from(head), key, body]);
}

export class Socket {
  messages = [];
  pings = 0;
  pongs = [];
  answerPings = true;
  #input = Buffer.alloc(0);
  #more = [];  // what came after #input; joined to it when a whole frame may be there
  #missing = 0;
  #pieces = [];
  #text = false;
  #waiting = [];
  #isOver = false;

  // Open TCP, send the upgrade, read the answer. `status` tells how it went.
  static async open(server, path, { protocols = ['v2.bsatn.spacetimedb'], token, headers = {}, omit = [] } = {}) {
    const self = new Socket();
    self.protocol = undefined;
    self.packing = new URL(path, 'http://server').searchParams.get('compression') ?? 'Brotli';
    self.packed = { None: 0, Brotli: 0, Gzip: 0 };  // payloads that came like that
    self.tcp = tcpConnect(server.port, '127.0.0.1');
    self.tcp.setNoDelay(true);
    self.ended = new Promise(resolve => self.tcp.on('close', resolve));
    self.tcp.on('close', () => {
      self.#isOver = true;
      self.#tell();
    });
    self.tcp.on('error', () => {});
    const all = {
      host: `127.0.0.1:${server.port}`,
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': randomBytes(16).toString('base64'),
      ...(protocols.length ? { 'sec-websocket-protocol': protocols.join(', ') } : {}),
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...headers,
    };
    for (const name of omit) delete all[name];
    self.key = all['sec-websocket-key'];
    self.tcp.write(`GET ${path} HTTP/1.1\r\n${Object.entries(all).map(([k, v]) => `${k}: ${v}\r\n`).join('')}\r\n`);
    await within(new Promise(resolve => self.#readHead(resolve)), `an answer to the upgrade of ${path}`);
    return self;
  }

  #readHead(done) {
    let head = Buffer.alloc(0);
    const finish = () => {
      this.tcp.off('data', hear);
      this.tcp.off('close', finish);
      done();
    };
    const hear = data => {
      head = Buffer.concat([head, data]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return;
      const [line, ...lines] = head.subarray(0, end).toString().split('\r\n');
      const status = Number(line.split(' ')[1]);
      const headers = Object.fromEntries(lines.map(l => [l.slice(0, l.indexOf(':')).toLowerCase(), l.slice(l.indexOf(':') + 1).trim()]));
      const rest = head.subarray(end + 4);
      if (status !== 101 && rest.length < Number(headers['content-length'] ?? 0)) return;
      this.status = status;
      this.headers = headers;
      if (status === 101) {
        this.protocol = headers['sec-websocket-protocol']
          ?.replace('v1.bsatn.lightcone', 'v3')  // which it is, and a little more
          .replace('.spacetimedb', '')
          .replace(/^(v[23])\.bsatn$/, '$1');
        this.tcp.on('data', more => this.#hear(more));
        finish();
        this.#hear(rest);
      } else {
        this.body = rest.toString();
        finish();
      }
    };
    this.tcp.on('data', hear);
    this.tcp.on('close', finish);
  }

  #hear(data) {
    this.#more.push(data);
    this.#missing -= data.length;
    if (this.#missing > 0) return;
    this.#input = Buffer.concat([this.#input, ...this.#more.splice(0)]);
    for (;;) {
      const b = this.#input;
      if (b.length < 2) return;
      let len = b[1] & 127;
      let at = 2;
      if (len === 126) {
        if (b.length < 4) return;
        len = b.readUInt16BE(2);
        at = 4;
      } else if (len === 127) {
        if (b.length < 10) return;
        len = Number(b.readBigUInt64BE(2));
        at = 10;
      }
      if (b.length < at + len) {
        this.#missing = at + len - b.length;
        return;
      }
      this.#input = b.subarray(at + len);
      this.#frame(b[0] & 15, (b[0] & 0x80) !== 0, b.subarray(at, at + len), b[0] & 0x70, b[1] & 0x80);
    }
  }

  #frame(opcode, fin, payload, rsv, masked) {
    if (rsv || masked) this.#fail(new Error('the server sent a frame no client may accept'));
    else if (opcode === OP.ping) {
      this.pings++;
      if (this.answerPings) this.send(OP.pong, payload);
    } else if (opcode === OP.pong) this.pongs.push(Buffer.from(payload));
    else if (opcode === OP.close) {
      this.close = { code: payload.length >= 2 ? payload.readUInt16BE(0) : 1005, reason: payload.subarray(2).toString() };
      if (payload.length > 125) this.#fail(new Error('a Close frame that is too long'));
    } else {
      if (opcode !== OP.continuation) this.#text = opcode === OP.text;
      this.#pieces.push(payload);
      if (!fin) return;
      const whole = Buffer.concat(this.#pieces);
      this.#pieces = [];
      this.payloads = (this.payloads ?? 0) + 1;
      try {
        if (!this.#text) this.packed[PACKINGS[whole[0]]]++;
        this.messages.push(...decode(whole, this.protocol, this.#text, this.packing));
      } catch (error) {
        this.#fail(error);
      }
    }
    this.#tell();
  }

  #fail(error) {
    this.failure ??= error;
    this.#tell();
  }

  #tell() {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  // The next message; with `want`, the next one that satisfies it (others are an error).
  async next(what = 'a message', ms = patience) {
    const end = Date.now() + ms;
    for (;;) {
      if (this.failure) throw this.failure;
      const message = this.messages.shift();
      if (message) return message;
      if (this.close) throw new Error(`closed with ${this.close.code} ${this.close.reason} instead of ${what}`);
      if (this.#isOver) throw new Error(`the connection ended instead of ${what}`);
      await within(this.#woken(), what, Math.max(1, end - Date.now()));
    }
  }

  // Something came, or the connection ended. (A race with `ended` would leave something behind there each time,
  // which is a lot for one that lives for half an hour.)
  #woken() {
    return new Promise(resolve => this.#waiting.push(resolve));
  }

  // Messages until one of this kind; gives that one and leaves what it passed in `passed`.
  async nextOf(kind, ms) {
    for (;;) {
      const message = await this.next(kind, ms);
      if (message.kind === kind) return message;
      (this.passed ??= []).push(message);
    }
  }

  // How the connection ends: the Close frame, or null when it was just dropped.
  async over(ms = patience) {
    const end = Date.now() + ms;
    while (!this.close && !this.#isOver) await within(this.#woken(), 'the connection to end', Math.max(1, end - Date.now()));
    if (this.close) this.send(OP.close, Buffer.from([this.close.code >> 8, this.close.code & 255]));
    await within(this.ended, 'the server to hang up', ms);
    return this.close ?? null;
  }

  send(opcode, payload, options) {
    this.tcp.write(frame(opcode, payload, options));
  }

  // One WebSocket message made of these protocol messages.
  say(...messages) {
    this.send(OP.binary, Buffer.concat(messages));
  }

  // Leave as a polite client does.
  async bye() {
    this.send(OP.close, Buffer.from([0x03, 0xe8]));
    await within(this.ended, 'the server to hang up');
  }

  drop() {
    this.tcp.destroy();
  }
}

// An open session: upgraded, its InitialConnection read.
export async function session(server, database, { query = '', compression = 'None', ...options } = {}) {
  const socket = await Socket.open(server, `/v1/database/${database}/subscribe?compression=${compression}${query}`, options);
  assert.equal(socket.status, 101, socket.body);
  socket.initial = await socket.next('InitialConnection');
  assert.equal(socket.initial.kind, 'initial');
  return socket;
}
