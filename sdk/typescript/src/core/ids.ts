// ids.ts: the values that have a type of their own: identities, times, UUIDs.
//
// ALWAYS TRUE
//   (1) They never change, and may be shared: a reader hands out one object for the same bytes.
//   (2) valueOf() gives what they are (a bigint), so `a < b`, `a - b` and keys of maps work.
//   (3) The bigint has the public field name of its wire type (`__identity__`), as other libraries
//       for this protocol have it, so that plain objects of that shape are understood as well.

import { randomFill } from './random.js';

const hexOf = (value: bigint, digits: number): string => value.toString(16).padStart(digits, '0');

function bigintOf(text: string, digits: number, what: string): bigint {
  const hex = text.startsWith('0x') ? text.slice(2) : text;
  if (hex.length !== digits || !/^[0-9a-fA-F]*$/.test(hex))
    throw new TypeError(`${what} has ${digits} hex digits, not: ${text}`);
  return BigInt('0x' + hex);
}

/** Who somebody is: 256 bits that a server derives from a token. */
export class Identity {
  readonly __identity__: bigint;
  constructor(value: bigint | string) {
    this.__identity__ = typeof value === 'bigint' ? value : bigintOf(value, 64, 'An Identity');
  }
  static fromString(hex: string): Identity {
    return new Identity(hex);
  }
  static zero(): Identity {
    return new Identity(0n);
  }
  isEqual(other: Identity): boolean {
    return this.__identity__ === other.__identity__;
  }
  equals(other: Identity): boolean {
    return this.isEqual(other);
  }
  toHexString(): string {
    return hexOf(this.__identity__, 64);
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
}

/** One connection of somebody. */
export class ConnectionId {
  readonly __connection_id__: bigint;
  constructor(value: bigint | string) {
    this.__connection_id__ =
      typeof value === 'bigint' ? value : bigintOf(value, 32, 'A ConnectionId');
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
  isZero(): boolean {
    return this.__connection_id__ === 0n;
  }
  isEqual(other: ConnectionId): boolean {
    return this.__connection_id__ === other.__connection_id__;
  }
  equals(other: ConnectionId): boolean {
    return this.isEqual(other);
  }
  toHexString(): string {
    return hexOf(this.__connection_id__, 32);
  }
  toString(): string {
    return this.toHexString();
  }
  toJSON(): string {
    return this.toHexString();
  }
  valueOf(): bigint {
    return this.__connection_id__;
  }
}

/** A span of time in microseconds; may be negative. */
export class TimeDuration {
  readonly __time_duration_micros__: bigint;
  constructor(micros: bigint) {
    this.__time_duration_micros__ = micros;
  }
  static fromMillis(millis: number): TimeDuration {
    return new TimeDuration(BigInt(Math.round(millis * 1000)));
  }
  static fromSeconds(seconds: number): TimeDuration {
    return TimeDuration.fromMillis(seconds * 1000);
  }
  get micros(): bigint {
    return this.__time_duration_micros__;
  }
  get millis(): number {
    return Number(this.__time_duration_micros__) / 1000;
  }
  isEqual(other: TimeDuration): boolean {
    return this.micros === other.micros;
  }
  toString(): string {
    return `${this.micros} µs`;
  }
  toJSON(): string {
    return this.micros.toString();
  }
  valueOf(): bigint {
    return this.micros;
  }
}

/** A moment: microseconds since 1970-01-01T00:00Z. */
export class Timestamp {
  readonly __timestamp_micros_since_unix_epoch__: bigint;
  static readonly UNIX_EPOCH: Timestamp = /* @__PURE__ */ new Timestamp(0n);
  constructor(micros: bigint) {
    this.__timestamp_micros_since_unix_epoch__ = micros;
  }
  static now(): Timestamp {
    return Timestamp.fromDate(new Date());
  }
  static fromDate(date: Date): Timestamp {
    return new Timestamp(BigInt(date.getTime()) * 1000n);
  }
  get microsSinceUnixEpoch(): bigint {
    return this.__timestamp_micros_since_unix_epoch__;
  }
  toMillis(): bigint {
    return this.microsSinceUnixEpoch / 1000n;
  }
  /** Milliseconds are what a Date can hold; a Timestamp that no Date can hold is a RangeError. */
  toDate(): Date {
    const date = new Date(Number(this.toMillis()));
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
    return this.microsSinceUnixEpoch === other.microsSinceUnixEpoch;
  }
  toString(): string {
    return this.toISOString();
  }
  toJSON(): string {
    return this.microsSinceUnixEpoch.toString();
  }
  valueOf(): bigint {
    return this.microsSinceUnixEpoch;
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
export class Uuid {
  readonly __uuid__: bigint;
  static readonly NIL: Uuid = /* @__PURE__ */ new Uuid(0n);
  static readonly MAX: Uuid = /* @__PURE__ */ new Uuid((1n << 128n) - 1n);
  constructor(value: bigint) {
    if (value < 0n || value >> 128n !== 0n) throw new RangeError('A UUID has 128 bits');
    this.__uuid__ = value;
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
    return this.__uuid__ === other.__uuid__;
  }
  toString(): string {
    const hex = hexOf(this.__uuid__, 32);
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  }
  toJSON(): string {
    return this.toString();
  }
  valueOf(): bigint {
    return this.__uuid__;
  }
}
