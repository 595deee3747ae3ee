// bytes.ts: BSATN, the protocol's and the tables' encoding, as a reader and a writer.
//
// Little-endian, no padding, no self-description: a product is its fields back to back, a sum a tag and
// its payload, a string or an array a u32 length and its contents.
//
// ALWAYS TRUE
//   (1) A reader never looks behind its end: numbers are read through a DataView, which throws, and
//       lengths are compared with what is left before anything is touched or allocated.
//   (2) What a reader returns shares no memory with the message, except subarray().
//   (3) A writer refuses what its type cannot hold (300 as u8, -1n as u64) and never truncates.
import { ConnectionId, Identity, ScheduleAt, TimeDuration, Timestamp, Uuid } from './ids.js';

export type Read<T> = (r: Reader) => T;
export type Write<T> = (w: Writer, value: T) => void;

/** How values of one type become bytes, and bytes values. Generated bindings are full of these. */
export interface Codec<T> extends Decoder<T>, Encoder<T> {}
export interface Decoder<T> {
  read(r: Reader): T;
}
export interface Encoder<T> {
  write(w: Writer, value: T): void;
}

export class DecodeError extends Error {
  override readonly name = 'DecodeError';
}

const decoder = /* @__PURE__ */ new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });
const encoder = /* @__PURE__ */ new TextEncoder();
const chr = String.fromCharCode;

// Up to this many bytes a string is put together from characters; above, TextDecoder is faster.
const SHORT_STRING = 16;

// Identities seen lately, by a few of their bits: rows of one table name the same people over and over,
// and need not hold each of them once a row.
const SEEN = 1024;
const seen: (Identity | undefined)[] = /* @__PURE__ */ new Array(SEEN).fill(undefined);

type TextReader = (data: Uint8Array, from: number, to: number) => string;
let readText: TextReader | undefined;
// Every byte is another character: the decoder called latin1 is that of windows-1252, which loses none.
const bytewise = /* @__PURE__ */ new TextDecoder('latin1');
let readBytewise: TextReader = (data, from, to) => bytewise.decode(data.subarray(from, to));

/**
 * Quicker ways to text where the runtime has them: from UTF-8, with U+FFFD for what is none, and from bytes
 * of any sort to one character each.
 */
export function provideText(utf8: TextReader, latin1: TextReader): void {
  readText = utf8;
  readBytewise = latin1;
}

/** Bytes as a text that is equal when they are; for keys, not for people. */
export function bytesKey(data: Uint8Array, from: number, to: number): string {
  return readBytewise(data, from, to);
}

export class Reader {
  at = 0;
  end: number;
  private readonly view: DataView;
  constructor(readonly data: Uint8Array) {
    this.end = data.length;
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }
  get left(): number {
    return this.end - this.at;
  }
  fail(why: string): never {
    throw new DecodeError(`${why} (at byte ${this.at} of ${this.end})`);
  }
  u8(): number {
    const n = this.view.getUint8(this.at);
    this.at += 1;
    return n;
  }
  i8(): number {
    const n = this.view.getInt8(this.at);
    this.at += 1;
    return n;
  }
  bool(): boolean {
    const n = this.u8();
    if (n > 1) this.fail(`byte ${n} not valid as bool (must be 0 or 1)`);
    return n === 1;
  }
  u16(): number {
    const n = this.view.getUint16(this.at, true);
    this.at += 2;
    return n;
  }
  i16(): number {
    const n = this.view.getInt16(this.at, true);
    this.at += 2;
    return n;
  }
  u32(): number {
    const n = this.view.getUint32(this.at, true);
    this.at += 4;
    return n;
  }
  i32(): number {
    const n = this.view.getInt32(this.at, true);
    this.at += 4;
    return n;
  }
  u64(): bigint {
    const { view, at } = this;
    const low = view.getUint32(at, true);
    const n = view.getInt32(at + 4, true) === 0 ? BigInt(low) : view.getBigUint64(at, true);
    this.at = at + 8;
    return n;
  }
  i64(): bigint {
    const { view, at } = this;
    const low = view.getInt32(at, true);
    const n = view.getInt32(at + 4, true) === low >> 31 ? BigInt(low) : view.getBigInt64(at, true);
    this.at = at + 8;
    return n;
  }
  u128(): bigint {
    const low = this.u64();
    return (this.u64() << 64n) | low;
  }
  i128(): bigint {
    const low = this.u64();
    return (this.i64() << 64n) | low;
  }
  u256(): bigint {
    const low = this.u128();
    return (this.u128() << 128n) | low;
  }
  i256(): bigint {
    const low = this.u128();
    return (this.i128() << 128n) | low;
  }
  f32(): number {
    const n = this.view.getFloat32(this.at, true);
    this.at += 4;
    return n;
  }
  f64(): number {
    const n = this.view.getFloat64(this.at, true);
    this.at += 8;
    return n;
  }
  private length(what: string): number {
    const n = this.u32();
    if (n > this.end - this.at)
      this.fail(`data too short for ${what}: Expected ${n}, given ${this.left}`);
    return n;
  }
  string(): string {
    const length = this.length('string');
    const from = this.at;
    const to = from + length;
    this.at = to;
    if (length <= SHORT_STRING) {
      const data = this.data;
      let text = '';
      let i = from;
      // Four at a time: fewer intermediate strings.
      for (; i + 4 <= to; i += 4) {
        const a = data[i]!;
        const b = data[i + 1]!;
        const c = data[i + 2]!;
        const d = data[i + 3]!;
        if ((a | b | c | d) >= 0x80) break;
        text += chr(a, b, c, d);
      }
      for (; i < to; i++) {
        const a = data[i]!;
        if (a >= 0x80) break;
        text += chr(a);
      }
      if (i === to) return text;
    }
    return this.utf8(from, to);
  }
  private utf8(from: number, to: number): string {
    if (readText) {
      const text = readText(this.data, from, to);
      if (!text.includes('\ufffd')) return text;
    }
    try {
      return decoder.decode(this.data.subarray(from, to));
    } catch {
      return this.fail('invalid utf8');
    }
  }
  /** The bytes themselves, a copy. */
  bytes(): Uint8Array {
    const length = this.length('[u8]');
    this.at += length;
    return this.data.slice(this.at - length, this.at);
  }
  /** The bytes of an Array<U8>, sharing the message's memory. */
  subarray(): Uint8Array {
    const length = this.length('[u8]');
    this.at += length;
    return this.data.subarray(this.at - length, this.at);
  }
  skip(bytes: number): void {
    if (bytes > this.left) this.fail(`Expected ${bytes}, given ${this.left}`);
    this.at += bytes;
  }
  array<T>(read: Read<T>): T[] {
    const count = this.u32();
    // Elements of no size are the only ones that may be more than the bytes left, and 4096 will do.
    if (count > this.left && count > 4096) this.fail(`an array of ${count} elements in ${this.left} bytes`);
    // Of the right size at once, unless that is more than a liar should get for four bytes.
    const list = new Array<T>(count <= 4096 ? count : 0);
    for (let i = 0; i < count; i++) list[i] = read(this);
    return list;
  }
  /** The tag of an Option: is there a value behind it? */
  some(): boolean {
    const tag = this.u8();
    if (tag > 1) this.badTag(tag, 'Option');
    return tag === 0;
  }
  /** The tag of a Result: is it `ok`? */
  ok(): boolean {
    const tag = this.u8();
    if (tag > 1) this.badTag(tag, 'Result');
    return tag === 0;
  }
  badTag(tag: number, type: string): never {
    this.fail(`unknown tag 0x${tag.toString(16)} for sum type ${type}`);
  }
  identity(): Identity {
    const { view, at } = this;
    const a = view.getInt32(at, true);
    const b = view.getInt32(at + 4, true);
    const c = view.getInt32(at + 8, true);
    const d = view.getInt32(at + 12, true);
    const e = view.getInt32(at + 16, true);
    const f = view.getInt32(at + 20, true);
    const g = view.getInt32(at + 24, true);
    const h = view.getInt32(at + 28, true);
    this.at = at + 32;
    const slot = (a ^ (b >>> 9) ^ (c << 3)) & (SEEN - 1);
    const known = seen[slot];
    if (
      known !== undefined && known.w0 === a && known.w1 === b && known.w2 === c && known.w3 === d &&
      known.w4 === e && known.w5 === f && known.w6 === g && known.w7 === h
    )
      return known;
    return (seen[slot] = new Identity(a, b, c, d, e, f, g, h));
  }
  connectionId(): ConnectionId {
    return new ConnectionId(this.i32(), this.i32(), this.i32(), this.i32());
  }
  timestamp(): Timestamp {
    return new Timestamp(this.i32(), this.i32());
  }
  timeDuration(): TimeDuration {
    return new TimeDuration(this.i32(), this.i32());
  }
  uuid(): Uuid {
    return new Uuid(this.i32(), this.i32(), this.i32(), this.i32());
  }
  scheduleAt(): ScheduleAt {
    const tag = this.u8();
    if (tag === 0) return { tag: 'Interval', value: this.timeDuration() };
    if (tag === 1) return { tag: 'Time', value: this.timestamp() };
    return this.badTag(tag, 'ScheduleAt');
  }
  unit(): Record<string, never> {
    return {};
  }
  never(): never {
    return this.fail('a value of the type that has none');
  }
}

// A bigint is an object on some engines, and every operation with it a call (JavaScriptCore: 13 to 20 ns). So
// 64 bits go through numbers where those are exact, which most are.
const TWO_32 = 2 ** 32;
const TWO_53 = 2 ** 53;
const TWO_63 = 2 ** 63;
const TWO_64 = 2 ** 64;

function refuse(value: unknown, type: string): never {
  const shown = typeof value === 'string' ? JSON.stringify(value) : String(value);
  throw new RangeError(`${shown} (${typeof value}) is not a ${type}`);
}

export class Writer {
  at = 0;
  data: Uint8Array;
  buffer: ArrayBuffer; // of data: asking an array for it is a call
  private view: DataView;
  constructor(capacity = 256) {
    this.buffer = new ArrayBuffer(capacity);
    this.data = new Uint8Array(this.buffer);
    this.view = new DataView(this.buffer);
  }
  clear(): this {
    this.at = 0;
    return this;
  }
  /** What was written; shares memory with the writer until it writes again. */
  written(): Uint8Array {
    return this.data.subarray(0, this.at);
  }
  /** What was written, for keeping. */
  finish(): Uint8Array {
    return this.data.slice(0, this.at);
  }
  /** Room for `bytes` more; where they begin. */
  private room(bytes: number): number {
    const at = this.at;
    const end = at + bytes;
    if (end > this.data.length) {
      this.buffer = new ArrayBuffer(Math.max(end, this.data.length * 2));
      const grown = new Uint8Array(this.buffer);
      grown.set(this.data.subarray(0, at));
      this.data = grown;
      this.view = new DataView(this.buffer);
    }
    this.at = end;
    return at;
  }
  u8(n: number): void {
    if ((n & 0xff) !== n) refuse(n, 'u8');
    const at = this.room(1); // which may replace data
    this.data[at] = n;
  }
  i8(n: number): void {
    if ((n << 24) >> 24 !== n) refuse(n, 'i8');
    const at = this.room(1);
    this.view.setInt8(at, n);
  }
  bool(value: boolean): void {
    if (typeof value !== 'boolean') refuse(value, 'bool');
    const at = this.room(1);
    this.data[at] = value ? 1 : 0;
  }
  u16(n: number): void {
    if ((n & 0xffff) !== n) refuse(n, 'u16');
    const at = this.room(2);
    this.view.setUint16(at, n, true);
  }
  i16(n: number): void {
    if ((n << 16) >> 16 !== n) refuse(n, 'i16');
    const at = this.room(2);
    this.view.setInt16(at, n, true);
  }
  u32(n: number): void {
    if (n >>> 0 !== n) refuse(n, 'u32');
    const at = this.room(4);
    this.view.setUint32(at, n, true);
  }
  i32(n: number): void {
    if ((n | 0) !== n) refuse(n, 'i32');
    const at = this.room(4);
    this.view.setInt32(at, n, true);
  }
  u64(n: bigint): void {
    if (typeof n !== 'bigint') refuse(n, 'u64');
    const near = Number(n);
    if (near < 0 || (near >= TWO_64 && BigInt.asUintN(64, n) !== n)) refuse(n, 'u64');
    if (near < TWO_53) return this.words2(near);
    const at = this.room(8);
    this.view.setBigUint64(at, n, true);
  }
  i64(n: bigint): void {
    if (typeof n !== 'bigint') refuse(n, 'i64');
    const near = Number(n);
    if (near > -TWO_53 && near < TWO_53) return this.words2(near);
    // A number that is a bound may have been rounded to it.
    if ((near <= -TWO_63 || near >= TWO_63) && BigInt.asIntN(64, n) !== n) refuse(n, 'i64');
    const at = this.room(8);
    this.view.setBigInt64(at, n, true);
  }
  // 64 bits of a number that is exact.
  private words2(n: number): void {
    const at = this.room(8);
    const high = Math.floor(n / TWO_32);
    this.view.setUint32(at, n - high * TWO_32, true);
    this.view.setInt32(at + 4, high, true);
  }
  private words(n: bigint, count: number): void {
    const at = this.room(8 * count);
    for (let i = 0; i < count; i++) {
      this.view.setBigUint64(at + 8 * i, BigInt.asUintN(64, n), true);
      n >>= 64n;
    }
  }
  u128(n: bigint): void {
    if (typeof n !== 'bigint' || BigInt.asUintN(128, n) !== n) refuse(n, 'u128');
    this.words(n, 2);
  }
  i128(n: bigint): void {
    if (typeof n !== 'bigint' || BigInt.asIntN(128, n) !== n) refuse(n, 'i128');
    this.words(n, 2);
  }
  u256(n: bigint): void {
    if (typeof n !== 'bigint' || BigInt.asUintN(256, n) !== n) refuse(n, 'u256');
    this.words(n, 4);
  }
  i256(n: bigint): void {
    if (typeof n !== 'bigint' || BigInt.asIntN(256, n) !== n) refuse(n, 'i256');
    this.words(n, 4);
  }
  f32(n: number): void {
    if (typeof n !== 'number') refuse(n, 'f32');
    const at = this.room(4);
    this.view.setFloat32(at, n, true);
  }
  f64(n: number): void {
    if (typeof n !== 'number') refuse(n, 'f64');
    const at = this.room(8);
    this.view.setFloat64(at, n, true);
  }
  string(text: string): void {
    if (typeof text !== 'string') refuse(text, 'string');
    const length = text.length;
    const at = this.room(4 + length * 3);
    const data = this.data;
    let to = at + 4;
    let i = 0;
    for (; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 0x80) break;
      data[to++] = code;
    }
    if (i < length) {
      const rest = encoder.encode(text.slice(i));
      data.set(rest, to);
      to += rest.length;
    }
    this.view.setUint32(at, to - at - 4, true);
    this.at = to;
  }
  /** An Array<U8>. */
  bytes(bytes: Uint8Array): void {
    if (!(bytes instanceof Uint8Array)) refuse(bytes, 'Uint8Array');
    this.u32(bytes.length);
    this.raw(bytes);
  }
  /** Bytes without a length. */
  raw(bytes: Uint8Array): void {
    const at = this.room(bytes.length);
    this.data.set(bytes, at);
  }
  /** An Array<U8> whose contents `body` writes: the length is put before it afterwards. */
  sized(body: (w: Writer) => void): void {
    const at = this.room(4);
    body(this);
    this.view.setUint32(at, this.at - at - 4, true);
  }
  array<T>(list: readonly T[], write: Write<T>): void {
    if (!Array.isArray(list)) refuse(list, 'array');
    this.u32(list.length);
    for (let i = 0; i < list.length; i++) write(this, list[i]!);
  }
  option<T>(value: T | undefined | null, write: Write<T>): void {
    if (value === undefined || value === null) return this.u8(1);
    this.u8(0);
    write(this, value);
  }
  result<T, E>(value: Result<T, E>, ok: Write<T>, err: Write<E>): void {
    if ('ok' in value) {
      this.u8(0);
      ok(this, value.ok);
    } else {
      this.u8(1);
      err(this, value.err);
    }
  }
  // Of another copy of this library, or another library, they are known by the names of their bigints.
  identity(id: Identity): void {
    if (!(id instanceof Identity)) return this.u256((id as Identity).__identity__);
    const at = this.room(32);
    const { view } = this;
    view.setInt32(at, id.w0, true);
    view.setInt32(at + 4, id.w1, true);
    view.setInt32(at + 8, id.w2, true);
    view.setInt32(at + 12, id.w3, true);
    view.setInt32(at + 16, id.w4, true);
    view.setInt32(at + 20, id.w5, true);
    view.setInt32(at + 24, id.w6, true);
    view.setInt32(at + 28, id.w7, true);
  }
  private words4(id: ConnectionId | Uuid): void {
    const at = this.room(16);
    const { view } = this;
    view.setInt32(at, id.w0, true);
    view.setInt32(at + 4, id.w1, true);
    view.setInt32(at + 8, id.w2, true);
    view.setInt32(at + 12, id.w3, true);
  }
  private micros(time: Timestamp | TimeDuration): void {
    const at = this.room(8);
    this.view.setInt32(at, time.low, true);
    this.view.setInt32(at + 4, time.high, true);
  }
  connectionId(id: ConnectionId): void {
    if (id instanceof ConnectionId) this.words4(id);
    else this.u128((id as ConnectionId).__connection_id__);
  }
  timestamp(at: Timestamp): void {
    if (at instanceof Timestamp) this.micros(at);
    else this.i64((at as Timestamp).__timestamp_micros_since_unix_epoch__);
  }
  timeDuration(span: TimeDuration): void {
    if (span instanceof TimeDuration) this.micros(span);
    else this.i64((span as TimeDuration).__time_duration_micros__);
  }
  uuid(id: Uuid): void {
    if (id instanceof Uuid) this.words4(id);
    else this.u128((id as Uuid).__uuid__);
  }
  scheduleAt(at: ScheduleAt): void {
    if (at.tag === 'Interval') {
      this.u8(0);
      this.timeDuration(at.value);
    } else if (at.tag === 'Time') {
      this.u8(1);
      this.timestamp(at.value);
    } else {
      this.badTag(at, 'ScheduleAt');
    }
  }
  unit(_value?: unknown): void {}
  never(value: never): never {
    return refuse(value, 'value of the type that has none');
  }
  badTag(value: { tag: string }, type: string): never {
    throw new RangeError(`${type} has no variant ${String((value as { tag?: unknown })?.tag)}`);
  }
}

/** `{ ok }` or `{ err }`. */
export type Result<T, E> = { ok: T } | { err: E };
