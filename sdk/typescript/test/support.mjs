// support.mjs: a random sequence that a printed seed repeats, and a server that says what a test tells it to.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { Writer } from '../dist/index.js';

export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
export async function until(condition, what, ms = 10_000) {
  for (const end = Date.now() + ms; ; await sleep(5)) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain for ${what}`);
  }
}
export const hex = bytes => Buffer.from(bytes).toString('hex');
export const unhex = text => new Uint8Array(Buffer.from(text, 'hex'));

export function randomOf(seed) {
  let state = BigInt(seed) || 1n;
  const next = () => {
    state ^= (state << 13n) & 0xffffffffffffffffn;
    state ^= state >> 7n;
    state ^= (state << 17n) & 0xffffffffffffffffn;
    return state;
  };
  const below = n => Number(next() % BigInt(n));
  const bits = count => {
    let value = 0n;
    for (let i = 0; i < count; i += 64) value = (value << 64n) | next();
    return BigInt.asUintN(count, value);
  };
  return { below, bits, chance: p => below(1000) < p * 1000, pick: list => list[below(list.length)] };
}

// ---- a server

/** Messages of the server, as bytes. */
export function say(...writes) {
  const w = new Writer();
  for (const write of writes) write(w);
  return w.finish();
}
export const greeting = w => {
  w.u8(0);
  w.u256(0xc200n << 240n);
  w.u128(7n);
  w.string('the-token');
};
// Rows are u32 numbers, of a table `t`.
const rowList = (w, rows) => {
  w.u8(0);
  w.u16(4);
  w.u32(rows.length * 4);
  for (const row of rows) w.u32(row);
};
export const applied = (set, rows, table = 't') => w => {
  w.u8(1);
  w.u32(0);
  w.u32(set);
  w.u32(1);
  w.string(table);
  rowList(w, rows);
};
export const queryUpdate = (w, set, inserts, deletes, table = 't') => {
  w.u32(1);
  w.u32(set);
  w.u32(1);
  w.string(table);
  w.u32(1);
  w.u8(0);
  rowList(w, inserts);
  rowList(w, deletes);
};
export const update = (set, inserts, deletes, table) => w => {
  w.u8(4);
  queryUpdate(w, set, inserts, deletes, table);
};
export const result = (request, set, inserts = [], deletes = []) => w => {
  w.u8(6);
  w.u32(request);
  w.i64(1n);
  w.u8(0);
  w.u32(0);
  if (set === undefined) w.u32(0);
  else queryUpdate(w, set, inserts, deletes);
};
export const refused = (request, text) => w => {
  w.u8(6);
  w.u32(request);
  w.i64(1n);
  w.u8(2);
  w.sized(w => w.string(text));
};
/** Of each table: 0 rows, 1 keys (rows that have them), 2 whole; what went; what came. */
export const resumed = (request, ...tables) => w => {
  w.u8(8);
  w.u32(request);
  w.u8(0);
  w.array(tables, (w, [table, kind, gone, came]) => {
    w.string(table);
    w.u8(kind);
    rowList(w, gone);
    rowList(w, came);
  });
};
export const progress = (history, offset) => w => {
  w.u8(9);
  w.u128(history);
  w.u64(offset);
};

function frame(payload) {
  const head = Buffer.alloc(payload.length < 126 ? 2 : payload.length < 65536 ? 4 : 10);
  head[0] = 0x82;
  if (head.length === 2) head[1] = payload.length;
  else if (head.length === 4) head.writeUInt16BE(payload.length, (head[1] = 126) && 2);
  else head.writeBigUInt64BE(BigInt(payload.length), (head[1] = 127) && 2);
  return Buffer.concat([head, payload]);
}

/** One connection of a client: what it sends is in `heard`, as payloads. */
class Peer {
  heard = [];
  constructor(socket, path, protocol) {
    this.socket = socket;
    this.path = path;
    this.protocol = protocol;
    let held = Buffer.alloc(0);
    socket.on('data', part => {
      held = Buffer.concat([held, part]);
      for (;;) {
        if (held.length < 2) return;
        let length = held[1] & 0x7f;
        let at = 2;
        if (length === 126) {
          length = held.readUInt16BE(2);
          at = 4;
        }
        if (held.length < at + 4 + length) return;
        const mask = held.subarray(at, at + 4);
        const payload = Buffer.from(held.subarray(at + 4, at + 4 + length)).map((byte, i) => byte ^ mask[i & 3]);
        if ((held[0] & 15) === 2) this.heard.push(new Uint8Array(payload));
        held = held.subarray(at + 4 + length);
      }
    });
    socket.on('error', () => {});
  }
  /** With the tag in front: 0 plain, 2 gzip. */
  send(body, tag = 0) {
    this.socket.write(frame(Buffer.concat([Buffer.from([tag]), body])));
  }
  raw(bytes) {
    this.socket.write(bytes);
  }
  drop() {
    this.socket.destroy();
  }
  /** The next payload, or what is left of the last. */
  async next() {
    return until(() => this.heard.shift(), 'a message of the client');
  }
}

export class FakeServer {
  peers = [];
  asked = []; // paths of other requests
  constructor(protocol = 'v3.bsatn.spacetimedb') {
    this.protocol = protocol;
  }
  async start() {
    this.http = createServer((request, answer) => {
      this.asked.push(`${request.method} ${request.url}`);
      if (this.token) return this.token(request, answer);
      answer.setHeader('content-type', 'application/json');
      answer.end(JSON.stringify({ token: 'short' }));
    });
    this.http.on('upgrade', (request, socket) => {
      if (this.refusal) {
        socket.end(`HTTP/1.1 ${this.refusal} No\r\ncontent-length: 5\r\n\r\nnever`);
        return;
      }
      const accept = createHash('sha1')
        .update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11')
        .digest('base64');
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n` +
          `sec-websocket-accept: ${accept}\r\nsec-websocket-protocol: ${this.protocol}\r\n\r\n`
      );
      this.peers.push(new Peer(socket, request.url, request.headers['sec-websocket-protocol']));
    });
    await new Promise(resolve => this.http.listen(this.port ?? 0, '127.0.0.1', resolve));
    this.port = this.http.address().port;
    this.url = `ws://127.0.0.1:${this.port}`;
    return this;
  }
  /** The n-th connection, counted from 0. */
  async peer(n) {
    return until(() => this.peers[n], `connection ${n}`);
  }
  async end() {
    for (const peer of this.peers) peer.drop();
    this.http.closeAllConnections?.();
    await new Promise(resolve => this.http.close(resolve));
  }
}
