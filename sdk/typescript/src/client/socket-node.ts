// socket-node.ts: a WebSocket client (RFC 6455) for Node, which has had one of its own only since 22, and
// whose own tells neither the HTTP status of a refusal nor of pings. Bundlers for browsers take socket.ts.
//
// ALWAYS TRUE
//   (1) `message` gets whole messages, in memory of their own.
//   (2) A server that breaks the rules (masked frames, reserved bits, control frames that are long or in
//       parts, more than MESSAGE_MAX bytes) is disconnected.
import { createHash, randomBytes, randomFillSync } from 'node:crypto';
import { provideText } from '../core/bytes.js';
import { provideRandom } from '../core/random.js';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import type { SocketEvents, SocketLike } from './socket.js';
export type { SocketEvents, SocketLike } from './socket.js';

// Node 18 has no global `crypto`.
provideRandom(randomFillSync);

// Half the time of a TextDecoder. Old, undocumented and everywhere; where they are gone, so is this.
type Slice = (this: Uint8Array, from: number, to: number) => string;
const { utf8Slice, latin1Slice } = Buffer.prototype as unknown as { utf8Slice?: Slice; latin1Slice?: Slice };
if (utf8Slice && latin1Slice)
  provideText(
    (data, from, to) => utf8Slice.call(data, from, to),
    (data, from, to) => latin1Slice.call(data, from, to)
  );

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const MESSAGE_MAX = 1 << 30;
const CONTROL_MAX = 125;
const CLOSE_WAIT_MS = 1000;

const enum Op {
  More = 0,
  Text = 1,
  Binary = 2,
  Close = 8,
  Ping = 9,
  Pong = 10,
}

class BadFrame extends Error {}

/** Bytes as they come in, frames as they go out to `frame`. */
class Frames {
  private parts: Buffer[] = [];
  private have = 0;
  constructor(private readonly frame: (isLast: boolean, op: number, data: Buffer) => void) {}

  push(part: Buffer): void {
    this.parts.push(part);
    this.have += part.length;
    for (;;) {
      const need = this.next();
      if (need === 0 || this.have < need) return;
    }
  }
  private join(): Buffer {
    if (this.parts.length > 1) this.parts = [Buffer.concat(this.parts, this.have)];
    return this.parts[0]!;
  }
  // The first `bytes` in one piece; joins no more than it must, so that a big frame is not copied per packet.
  private head(bytes: number): Buffer {
    return this.parts[0]!.length >= bytes ? this.parts[0]! : this.join();
  }
  // Hands out one frame if it is all here. How many bytes it takes, 0 when that is not known yet.
  private next(): number {
    if (this.have < 2) return 0;
    let head = this.head(2);
    const first = head[0]!;
    let length = head[1]! & 0x7f;
    if (first & 0x70) throw new BadFrame('reserved bits');
    if (head[1]! & 0x80) throw new BadFrame('a masked frame');
    let start = 2;
    if (length === 126) start = 4;
    else if (length === 127) start = 10;
    if (this.have < start) return 0;
    head = this.head(start);
    if (length === 126) length = head.readUInt16BE(2);
    else if (length === 127) length = Number(head.readBigUInt64BE(2));
    if (length > MESSAGE_MAX) throw new BadFrame('too long a frame');
    const total = start + length;
    if (this.have < total) return total;
    const all = this.head(total);
    this.parts[0] = all.subarray(total);
    if (this.parts[0].length === 0) this.parts.shift();
    this.have -= total;
    this.frame((first & 0x80) !== 0, first & 0x0f, all.subarray(start, total));
    return this.have > 0 ? 2 : 0;
  }
}

const masks = Buffer.alloc(4096);
let maskAt = masks.length;
function nextMask(): number {
  if (maskAt === masks.length) {
    randomFillSync(masks);
    maskAt = 0;
  }
  maskAt += 4;
  return maskAt - 4;
}

function frameOf(op: Op, data: Uint8Array): Buffer {
  const { length } = data;
  const start = length < 126 ? 6 : length < 65536 ? 8 : 14;
  const frame = Buffer.allocUnsafe(start + length);
  frame[0] = 0x80 | op;
  if (length < 126) {
    frame[1] = 0x80 | length;
  } else if (length < 65536) {
    frame[1] = 0x80 | 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 0x80 | 127;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  const mask = nextMask();
  for (let i = 0; i < 4; i++) frame[start - 4 + i] = masks[mask + i]!;
  for (let i = 0; i < length; i++) frame[start + i] = data[i]! ^ masks[mask + (i & 3)]!;
  return frame;
}

class NodeSocket implements SocketLike {
  private socket: Socket | undefined;
  private isEnded = false;
  private parts: Buffer[] = [];
  private partBytes = 0;
  private isMessageOpen = false;
  private readonly request: ReturnType<typeof httpRequest>;

  constructor(address: string, protocols: string[], private readonly events: SocketEvents) {
    const key = randomBytes(16).toString('base64');
    const url = new URL(address.replace(/^ws/, 'http'));
    const make = url.protocol === 'https:' ? httpsRequest : httpRequest;
    this.request = make(url, {
      agent: false,
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': key,
        'sec-websocket-protocol': protocols.join(', '),
      },
    });
    this.request.on('upgrade', (answer, socket: Socket, head) => this.upgraded(answer, socket, head, key));
    this.request.on('response', answer => this.refused(answer));
    this.request.on('error', error => this.ended(error.message || String((error as { code?: string }).code)));
    this.request.end();
  }
  private ended(reason: string, status?: number): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.socket?.destroy();
    this.events.close(reason, status);
  }
  private refused(answer: IncomingMessage): void {
    let text = '';
    answer.setEncoding('utf8');
    answer.on('data', (part: string) => (text = (text + part).slice(0, 1000)));
    answer.on('end', () => this.ended(`The server answered ${answer.statusCode}: ${text.trim()}`, answer.statusCode));
  }
  private upgraded(answer: IncomingMessage, socket: Socket, head: Buffer, key: string): void {
    if (this.isEnded) return void socket.destroy();
    const expected = createHash('sha1').update(key + GUID).digest('base64');
    if (answer.headers['sec-websocket-accept'] !== expected) {
      socket.destroy();
      return this.ended('The server is not a WebSocket server');
    }
    this.socket = socket;
    socket.setNoDelay(true);
    socket.setTimeout(0);
    const frames = new Frames((isLast, op, data) => this.frame(isLast, op, data));
    const take = (part: Buffer) => {
      try {
        frames.push(part);
      } catch (error) {
        if (!(error instanceof BadFrame)) throw error;
        this.ended(`The server broke the protocol: ${error.message}`);
      }
    };
    socket.on('data', take);
    socket.on('error', error => this.ended(error.message));
    socket.on('close', () => this.ended('The connection was closed'));
    socket.on('end', () => this.ended('The connection was closed'));
    this.events.open(answer.headers['sec-websocket-protocol'] ?? '');
    if (head.length > 0) take(head);
  }
  private frame(isLast: boolean, op: number, data: Buffer): void {
    if (this.isEnded) return;
    if (op >= Op.Close) {
      if (!isLast || data.length > CONTROL_MAX) throw new BadFrame('a control frame in parts');
      return this.control(op, data);
    }
    if (op > Op.Binary || (op === Op.More) !== this.isMessageOpen) throw new BadFrame('parts out of order');
    this.partBytes += data.length;
    if (this.partBytes > MESSAGE_MAX) throw new BadFrame('too long a message');
    this.parts.push(data);
    this.isMessageOpen = !isLast;
    if (!isLast) return;
    const { parts, partBytes } = this;
    this.parts = [];
    this.partBytes = 0;
    const whole = parts.length === 1 ? parts[0]! : Buffer.concat(parts, partBytes);
    this.events.message(new Uint8Array(whole.buffer, whole.byteOffset, whole.length));
  }
  private control(op: number, data: Buffer): void {
    if (op === Op.Ping) {
      this.socket!.write(frameOf(Op.Pong, data));
    } else if (op === Op.Close) {
      this.socket!.write(frameOf(Op.Close, data.subarray(0, 2)));
      const code = data.length >= 2 ? data.readUInt16BE(0) : 1005;
      const reason = data.subarray(2).toString('utf8');
      this.ended(reason || `The connection was closed (${code})`);
    } else if (op !== Op.Pong) {
      throw new BadFrame(`operation ${op}`);
    }
  }
  send(data: Uint8Array): void {
    if (this.socket && !this.isEnded) this.socket.write(frameOf(Op.Binary, data));
  }
  close(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    const { socket } = this;
    if (!socket) return void this.request.destroy();
    // Say goodbye, and do not wait for ever to hear it back.
    socket.end(frameOf(Op.Close, Buffer.from([0x03, 0xe8])));
    socket.resume();
    setTimeout(() => socket.destroy(), CLOSE_WAIT_MS).unref();
  }
}

export const tellsStatus = true;

export function openSocket(address: string, protocols: string[], events: SocketEvents): SocketLike {
  return new NodeSocket(address, protocols, events);
}
