// ids.ts: the values that have a type of their own: identities, times, UUIDs.
//
// They are held as 32-bit words, as they come off the wire, and become bigints only when asked: making
// a bigint of 256 bits takes longer than reading all the rest of a row.
//
// ALWAYS TRUE
//   (1) They never change, and may be shared: a reader hands out one object for the same bytes.
//   (2) valueOf() gives what they are (a bigint), so `a < b` and `a - b` work; key() is a primitive that is
//       equal when they are, for maps.
//   (3) The bigint has the public name of its wire type (`__identity__`), as other libraries for this
//       protocol have it.

import { randomFill } from './random.js';

const chr = String.fromCharCode;
const inspected = Symbol.for('nodejs.util.inspect.custom');

function bigintOf(text: string, digits: number, what: string): bigint {
  const hex = text.startsWith('0x') ? text.slice(2) : text;
  if (hex.length !== digits || !/^[0-9a-fA-F]*$/.test(hex))
    throw new TypeError(`${what} has ${digits} hex digits, not: ${text}`);
  return BigInt('0x' + hex);
}

const word = (value: bigint, index: number): number => Number(BigInt.asIntN(32, value >> BigInt(32 * index)));
const pair = (low: number, high: number): bigint => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
const hexOf = (n: number): string => (n >>> 0).toString(16).padStart(8, '0');
const chars = (n: number): string => chr(n & 0xffff, n >>> 16);

function checked(value: bigint, bits: number, what: string): bigint {
  if (typeof value !== 'bigint' || BigInt.asUintN(bits, value) !== value)
    throw new RangeError(`${what} is a bigint of ${bits} bits, not ${String(value)}`);
  return value;
}

/** 128 bits: what a ConnectionId and a Uuid are made of. Word 0 is the least significant. */
abstract class Words4 {
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
  constructor(value: bigint | number, w1 = 0, w2 = 0, w3 = 0) {
    const isWords = typeof value === 'number';
    this.w0 = isWords ? value : word(value, 0);
    this.w1 = isWords ? w1 : word(value, 1);
    this.w2 = isWords ? w2 : word(value, 2);
    this.w3 = isWords ? w3 : word(value, 3);
  }
  valueOf(): bigint {
    return (pair(this.w2, this.w3) << 64n) | pair(this.w0, this.w1);
  }
  protected hex(): string {
    return hexOf(this.w3) + hexOf(this.w2) + hexOf(this.w1) + hexOf(this.w0);
  }
  key(): string {
    return chars(this.w0) + chars(this.w1) + chars(this.w2) + chars(this.w3);
  }
  protected same(other: Words4): boolean {
    return this.w0 === other.w0 && this.w1 === other.w1 && this.w2 === other.w2 && this.w3 === other.w3;
  }
}

/** Who somebody is: 256 bits that a server derives from a token. */
export class Identity {
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
  readonly w4: number;
  readonly w5: number;
  readonly w6: number;
  readonly w7: number;
  constructor(value: bigint | string);
  /** @internal */
  constructor(w0: number, w1: number, w2: number, w3: number, w4: number, w5: number, w6: number, w7: number);
  constructor(value: bigint | string | number, w1 = 0, w2 = 0, w3 = 0, w4 = 0, w5 = 0, w6 = 0, w7 = 0) {
    if (typeof value === 'number') {
      this.w0 = value;
      this.w1 = w1;
      this.w2 = w2;
      this.w3 = w3;
      this.w4 = w4;
      this.w5 = w5;
      this.w6 = w6;
      this.w7 = w7;
    } else {
      const n = typeof value === 'string' ? bigintOf(value, 64, 'An Identity') : checked(value, 256, 'An Identity');
      this.w0 = word(n, 0);
      this.w1 = word(n, 1);
      this.w2 = word(n, 2);
      this.w3 = word(n, 3);
      this.w4 = word(n, 4);
      this.w5 = word(n, 5);
      this.w6 = word(n, 6);
      this.w7 = word(n, 7);
    }
  }
  static fromString(hex: string): Identity {
    return new Identity(hex);
  }
  static zero(): Identity {
    return new Identity(0n);
  }
  get __identity__(): bigint {
    const low = (pair(this.w2, this.w3) << 64n) | pair(this.w0, this.w1);
    const high = (pair(this.w6, this.w7) << 64n) | pair(this.w4, this.w5);
    return (high << 128n) | low;
  }
  isEqual(other: Identity): boolean {
    return (
      this.w0 === other.w0 && this.w1 === other.w1 && this.w2 === other.w2 && this.w3 === other.w3 &&
      this.w4 === other.w4 && this.w5 === other.w5 && this.w6 === other.w6 && this.w7 === other.w7
    );
  }
  equals(other: Identity): boolean {
    return this.isEqual(other);
  }
  toHexString(): string {
    return (
      hexOf(this.w7) + hexOf(this.w6) + hexOf(this.w5) + hexOf(this.w4) +
      hexOf(this.w3) + hexOf(this.w2) + hexOf(this.w1) + hexOf(this.w0)
    );
  }
  key(): string {
    const { w0, w1, w2, w3, w4, w5, w6, w7 } = this;
    return chr(
      w0 & 0xffff, w0 >>> 16, w1 & 0xffff, w1 >>> 16, w2 & 0xffff, w2 >>> 16, w3 & 0xffff, w3 >>> 16,
      w4 & 0xffff, w4 >>> 16, w5 & 0xffff, w5 >>> 16, w6 & 0xffff, w6 >>> 16, w7 & 0xffff, w7 >>> 16
    );
  }
  toString(): string {
    return this.toHexString();
  }
  toJSON(): string {
    return this.toHexString();
  }
  valueOf(): bigint {
    return this.__identity__;
  }
  [inspected](): string {
    return `Identity(${this.toHexString()})`;
  }
}

/** One connection of somebody. */
export class ConnectionId extends Words4 {
  constructor(value: bigint | string);
  /** @internal */
  constructor(w0: number, w1: number, w2: number, w3: number);
  constructor(value: bigint | string | number, w1?: number, w2?: number, w3?: number) {
    super(
      typeof value === 'string'
        ? bigintOf(value, 32, 'A ConnectionId')
        : typeof value === 'bigint'
          ? checked(value, 128, 'A ConnectionId')
          : value,
      w1,
      w2,
      w3
    );
  }
  static fromString(hex: string): ConnectionId {
    return new ConnectionId(hex);
  }
  static fromStringOrNull(hex: string): ConnectionId | null {
    return ConnectionId.nullIfZero(ConnectionId.fromString(hex));
  }
  static nullIfZero(id: ConnectionId): ConnectionId | null {
    return id.isZero() ? null : id;
  }
  static random(): ConnectionId {
    return new ConnectionId(uuidRandom());
  }
  get __connection_id__(): bigint {
    return this.valueOf();
  }
  isZero(): boolean {
    return (this.w0 | this.w1 | this.w2 | this.w3) === 0;
  }
  isEqual(other: ConnectionId): boolean {
    return this.same(other);
  }
  equals(other: ConnectionId): boolean {
    return this.same(other);
  }
  toHexString(): string {
    return this.hex();
  }
  override toString(): string {
    return this.hex();
  }
  toJSON(): string {
    return this.hex();
  }
  [inspected](): string {
    return `ConnectionId(${this.hex()})`;
  }
}

/** Microseconds, as 64 bits with a sign. */
abstract class Micros {
  readonly low: number;
  readonly high: number;
  constructor(micros: bigint | number, high?: number) {
    if (typeof micros === 'number') {
      this.low = micros;
      this.high = high!;
      return;
    }
    const near = typeof micros === 'bigint' ? Number(micros) : NaN;
    if (near > -(2 ** 53) && near < 2 ** 53) {
      this.high = Math.floor(near / 2 ** 32);
      this.low = (near - this.high * 2 ** 32) | 0;
    } else {
      if (typeof micros !== 'bigint' || BigInt.asIntN(64, micros) !== micros)
        throw new RangeError(`Microseconds are a bigint of 64 bits, not ${String(micros)}`);
      this.low = word(micros, 0);
      this.high = word(micros, 1);
    }
  }
  valueOf(): bigint {
    return (BigInt(this.high) << 32n) | BigInt(this.low >>> 0);
  }
  key(): number | bigint {
    const { high } = this;
    // Exact as a number for the next two hundred years, and the last.
    return high < 0x200000 && high > -0x200000 ? high * 2 ** 32 + (this.low >>> 0) : this.valueOf();
  }
}

/** A span of time in microseconds; may be negative. */
export class TimeDuration extends Micros {
  constructor(micros: bigint);
  /** @internal */
  constructor(low: number, high: number);
  constructor(micros: bigint | number, high?: number) {
    super(micros, high);
  }
  static fromMillis(millis: number): TimeDuration {
    return new TimeDuration(BigInt(Math.round(millis * 1000)));
  }
  static fromSeconds(seconds: number): TimeDuration {
    return TimeDuration.fromMillis(seconds * 1000);
  }
  get __time_duration_micros__(): bigint {
    return this.valueOf();
  }
  get micros(): bigint {
    return this.valueOf();
  }
  get millis(): number {
    return Number(this.key()) / 1000;
  }
  isEqual(other: TimeDuration): boolean {
    return this.low === other.low && this.high === other.high;
  }
  override toString(): string {
    return `${this.micros} µs`;
  }
  toJSON(): string {
    return this.micros.toString();
  }
  [inspected](): string {
    return `TimeDuration(${this.micros} µs)`;
  }
}

/** A moment: microseconds since 1970-01-01T00:00Z. */
export class Timestamp extends Micros {
  static readonly UNIX_EPOCH: Timestamp = /* @__PURE__ */ new Timestamp(0n);
  constructor(micros: bigint);
  /** @internal */
  constructor(low: number, high: number);
  constructor(micros: bigint | number, high?: number) {
    super(micros, high);
  }
  static now(): Timestamp {
    return Timestamp.fromDate(new Date());
  }
  static fromDate(date: Date): Timestamp {
    return new Timestamp(BigInt(date.getTime()) * 1000n);
  }
  get __timestamp_micros_since_unix_epoch__(): bigint {
    return this.valueOf();
  }
  get microsSinceUnixEpoch(): bigint {
    return this.valueOf();
  }
  toMillis(): bigint {
    return this.microsSinceUnixEpoch / 1000n;
  }
  /** Milliseconds are what a Date can hold; a Timestamp that no Date can hold is a RangeError. */
  toDate(): Date {
    const date = new Date(Math.trunc(Number(this.key()) / 1000));
    if (Number.isNaN(date.getTime())) throw new RangeError('Timestamp is out of range for Date');
    return date;
  }
  toISOString(): string {
    const micros = ((this.microsSinceUnixEpoch % 1000000n) + 1000000n) % 1000000n;
    const whole = new Date(Number((this.microsSinceUnixEpoch - micros) / 1000n));
    return whole.toISOString().slice(0, -4) + micros.toString().padStart(6, '0') + 'Z';
  }
  since(earlier: Timestamp): TimeDuration {
    return new TimeDuration(this.microsSinceUnixEpoch - earlier.microsSinceUnixEpoch);
  }
  add(span: TimeDuration): Timestamp {
    return new Timestamp(this.microsSinceUnixEpoch + span.micros);
  }
  isEqual(other: Timestamp): boolean {
    return this.low === other.low && this.high === other.high;
  }
  override toString(): string {
    return this.toISOString();
  }
  toJSON(): string {
    return this.microsSinceUnixEpoch.toString();
  }
  [inspected](): string {
    return `Timestamp(${this.microsSinceUnixEpoch})`;
  }
}

/** When a scheduled function runs: every so often, or once. */
export type ScheduleAt =
  | { tag: 'Interval'; value: TimeDuration }
  | { tag: 'Time'; value: Timestamp };
export const ScheduleAt = {
  interval: (every: bigint | TimeDuration): ScheduleAt => ({
    tag: 'Interval',
    value: typeof every === 'bigint' ? new TimeDuration(every) : every,
  }),
  time: (at: bigint | Timestamp | Date): ScheduleAt => ({
    tag: 'Time',
    value:
      typeof at === 'bigint'
        ? new Timestamp(at)
        : at instanceof Date
          ? Timestamp.fromDate(at)
          : at,
  }),
};

function uuidRandom(): bigint {
  const words = new BigUint64Array(2);
  randomFill(new Uint8Array(words.buffer));
  return (words[0]! << 64n) | words[1]!;
}

/** A UUID: 128 bits, read most significant byte first. */
export class Uuid extends Words4 {
  static readonly NIL: Uuid = /* @__PURE__ */ new Uuid(0n);
  static readonly MAX: Uuid = /* @__PURE__ */ new Uuid((1n << 128n) - 1n);
  constructor(value: bigint);
  /** @internal */
  constructor(w0: number, w1: number, w2: number, w3: number);
  constructor(value: bigint | number, w1?: number, w2?: number, w3?: number) {
    super(typeof value === 'bigint' ? checked(value, 128, 'A Uuid') : value, w1, w2, w3);
  }
  get __uuid__(): bigint {
    return this.valueOf();
  }
  static parse(text: string): Uuid {
    if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text))
      throw new TypeError(`Not a UUID: ${text}`);
    return new Uuid(BigInt('0x' + text.replaceAll('-', '')));
  }
  static fromBigInt(value: bigint): Uuid {
    return new Uuid(value);
  }
  /** Version 4 from 16 random bytes. */
  static fromRandomBytesV4(bytes: Uint8Array): Uuid {
    if (bytes.length !== 16) throw new RangeError('A UUID of version 4 takes 16 random bytes');
    let value = 0n;
    for (const byte of bytes) value = (value << 8n) | BigInt(byte);
    return Uuid.versioned(value, 4n);
  }
  /** Version 4 from the runtime's randomness; inside a module use ctx.newUuidV4(). */
  static random(): Uuid {
    return Uuid.versioned(uuidRandom(), 4n);
  }
  /**
   * Version 7: sorts by time, and within a millisecond by `counter`, whose value goes up by one.
   * Needs 4 random bytes.
   */
  static fromCounterV7(counter: { value: number }, now: Timestamp, random: Uint8Array): Uuid {
    if (random.length !== 4) throw new RangeError('A UUID of version 7 takes 4 random bytes');
    const n = counter.value;
    counter.value = (n + 1) & 0x7fffffff;
    const millis = BigInt.asUintN(48, now.toMillis());
    const bytes = [0x70, (n >>> 23) & 0xff, 0x80, (n >>> 15) & 0xff, (n >>> 7) & 0xff];
    bytes.push((n & 0x7f) << 1, random[0]! & 0x7f, random[1]!, random[2]!, random[3]!);
    let value = millis;
    for (const byte of bytes) value = (value << 8n) | BigInt(byte);
    return new Uuid(value);
  }
  private static versioned(value: bigint, version: bigint): Uuid {
    const cleared = value & ~((0xfn << 76n) | (3n << 62n));
    return new Uuid(cleared | (version << 76n) | (2n << 62n));
  }
  getVersion(): 'Nil' | 'V4' | 'V7' | 'Max' | undefined {
    if (this.__uuid__ === 0n) return 'Nil';
    if (this.__uuid__ === Uuid.MAX.__uuid__) return 'Max';
    const version = Number((this.__uuid__ >> 76n) & 0xfn);
    return version === 4 ? 'V4' : version === 7 ? 'V7' : undefined;
  }
  /** The counter of a version 7. */
  getCounter(): number {
    const byte = (index: number) => Number((this.__uuid__ >> BigInt(8 * (15 - index))) & 0xffn);
    return (byte(7) << 23) | (byte(9) << 15) | (byte(10) << 7) | (byte(11) >> 1);
  }
  asBigInt(): bigint {
    return this.__uuid__;
  }
  compareTo(other: Uuid): number {
    return this.__uuid__ < other.__uuid__ ? -1 : this.__uuid__ > other.__uuid__ ? 1 : 0;
  }
  isEqual(other: Uuid): boolean {
    return this.same(other);
  }
  override toString(): string {
    const hex = this.hex();
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  }
  toJSON(): string {
    return this.toString();
  }
  [inspected](): string {
    return `Uuid(${this.toString()})`;
  }
}
