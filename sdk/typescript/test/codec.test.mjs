// BSATN: the spec's vectors, the npm package as a twin on random types and values, and bytes that are wrong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as npm from 'spacetimedb';
import { compileClosures, compileSource } from '../dist/core/compile.js';
import * as own from '../dist/index.js';
import { hex, randomOf, unhex } from './support.mjs';

const { t, Reader, Writer, Identity, ConnectionId, Timestamp, TimeDuration, Uuid, ScheduleAt } = own;

const encode = (type, value) => {
  const w = new Writer(4);
  type.codec.write(w, value);
  return hex(w.finish());
};
const decode = (type, bytes) => type.codec.read(new Reader(typeof bytes === 'string' ? unhex(bytes) : bytes));

const Shape = t.enum('Shape', { Circle: t.f32(), Point: t.unit(), Rect: t.object('Rect', { w: t.u8(), h: t.u8() }) });
const id = 'c20035600353a2e93544d898c6ed0eac323e200c0468300f22958f8b472a265d';
const vectors = [
  [t.bool(), true, '01'],
  [t.i8(), -2, 'fe'],
  [t.u16(), 0x1234, '3412'],
  [t.i32(), -2, 'feffffff'],
  [t.u64(), 0x0102030405060708n, '0807060504030201'],
  [t.i128(), -2n, 'fe' + 'ff'.repeat(15)],
  [t.u128(), 0x000102030405060708090a0b0c0d0e0fn, '0f0e0d0c0b0a09080706050403020100'],
  [t.u256(), 2n ** 255n + 1n, '01' + '00'.repeat(30) + '80'],
  [t.i256(), -2n, 'fe' + 'ff'.repeat(31)],
  [t.f32(), 1.5, '0000c03f'],
  [t.f64(), -0, '0000000000000080'],
  [t.string(), 'héllo', '0600000068c3a96c6c6f'],
  [t.string(), '', '00000000'],
  [t.byteArray(), new Uint8Array([1, 2, 255]), '030000000102ff'],
  [t.array(t.u16()), [1, 2], '0200000001000200'],
  [t.array(t.string()), ['a', ''], '02000000010000006100000000'],
  [t.option(t.u32()), 7, '0007000000'],
  [t.option(t.u32()), undefined, '01'],
  [t.result(t.string(), t.string()), { ok: 'y' }, '000100000079'],
  [t.result(t.u32(), t.string()), { err: 'n' }, '01010000006e'],
  [t.unit(), {}, ''],
  [Shape, Shape.Circle(1.5), '000000c03f'],
  [Shape, Shape.Point, '01'],
  [Shape, Shape.Rect({ w: 3, h: 4 }), '020304'],
  [t.identity(), new Identity(id), '5d262a478b8f95220f3068040c203e32ac0eedc698d84435e9a25303603500c2'],
  [t.connectionId(), new ConnectionId('000102030405060708090a0b0c0d0e0f'), '0f0e0d0c0b0a09080706050403020100'],
  [t.timestamp(), new Timestamp(1000000n), '40420f0000000000'],
  [t.timeDuration(), new TimeDuration(-1n), 'ff'.repeat(8)],
  [t.scheduleAt(), ScheduleAt.interval(5000000n), '00404b4c0000000000'],
  [t.scheduleAt(), ScheduleAt.time(1000000n), '0140420f0000000000'],
  [t.uuid(), Uuid.parse('01888d6e-5c00-7000-8000-000000000001'), '01000000000000800070005c6e8d8801'],
];

test('values are the bytes that the specification prints, and come back', () => {
  for (const [type, value, bytes] of vectors) {
    assert.equal(encode(type, value), bytes);
    assert.deepEqual(decode(type, bytes), value);
  }
});

// ---- random types and values, the same in both libraries

const simple = {
  bool: r => r.chance(0.5),
  i8: r => Number(BigInt.asIntN(8, r.bits(8))),
  u8: r => Number(r.bits(8)),
  i16: r => Number(BigInt.asIntN(16, r.bits(16))),
  u16: r => Number(r.bits(16)),
  i32: r => Number(BigInt.asIntN(32, r.bits(32))),
  u32: r => Number(r.bits(32)),
  i64: r => BigInt.asIntN(64, r.bits(64)),
  u64: r => r.bits(64),
  i128: r => BigInt.asIntN(128, r.bits(128)),
  u128: r => r.bits(128),
  i256: r => BigInt.asIntN(256, r.bits(256)),
  u256: r => r.bits(256),
  f32: r => Math.fround(Number(r.bits(40)) / 1024 - 2 ** 20),
  f64: r => Number(r.bits(60)) / 3,
  string: r => Array.from({ length: r.below(60) }, () => r.pick(['a', 'Z', '9', ' ', 'é', '€', '😀', '\0'])).join(''),
  byteArray: r => Uint8Array.from({ length: r.below(40) }, () => r.below(256)),
  unit: () => ({}),
};
// What is an object of a class in each library.
const special = {
  identity: (lib, n) => new lib.Identity(BigInt.asUintN(256, n)),
  connectionId: (lib, n) => new lib.ConnectionId(BigInt.asUintN(128, n)),
  timestamp: (lib, n) => new lib.Timestamp(BigInt.asIntN(64, n)),
  timeDuration: (lib, n) => new lib.TimeDuration(BigInt.asIntN(64, n)),
  uuid: (lib, n) => new lib.Uuid(BigInt.asUintN(128, n)),
  scheduleAt: (lib, n) =>
    n & 1n ? lib.ScheduleAt.time(BigInt.asIntN(63, n)) : lib.ScheduleAt.interval(BigInt.asIntN(63, n)),
};
const kinds = [...Object.keys(simple), ...Object.keys(special)];
let names = 0;

// A type: `of(lib)` is it in that library, `value(r)` gives a function that makes the same value for each.
function randomType(r, depth) {
  const kind = depth > 0 && r.chance(0.5) ? r.pick(['array', 'option', 'object', 'enum']) : r.pick(kinds);
  if (simple[kind])
    return { of: lib => lib.t[kind](), value: r => (value => () => value)(simple[kind](r)) };
  if (special[kind])
    return { of: lib => lib.t[kind](), value: r => (n => lib => special[kind](lib, n))(r.bits(256)) };
  if (kind === 'array') {
    const element = randomType(r, depth - 1);
    return {
      of: lib => lib.t.array(element.of(lib)),
      value: r => (list => lib => list.map(make => make(lib)))(Array.from({ length: r.below(5) }, () => element.value(r))),
    };
  }
  if (kind === 'option') {
    const element = randomType(r, depth - 1);
    return {
      of: lib => lib.t.option(element.of(lib)),
      value: r => (r.chance(0.3) ? () => undefined : element.value(r)),
    };
  }
  const members = Array.from({ length: 1 + r.below(5) }, (_, i) => [`m${i}`, randomType(r, depth - 1)]);
  const name = `${kind}${names++}`;
  const fields = lib => Object.fromEntries(members.map(([key, type]) => [key, type.of(lib)]));
  if (kind === 'object')
    return {
      of: lib => lib.t.object(name, fields(lib)),
      value: r => {
        const made = members.map(([key, type]) => [key, type.value(r)]);
        return lib => Object.fromEntries(made.map(([key, make]) => [key, make(lib)]));
      },
    };
  members.push(['nothing', { of: lib => lib.t.unit(), value: () => () => undefined }]);
  return {
    of: lib => lib.t.enum(name, Object.fromEntries(members.map(([key, type]) => [key, type.of(lib)]))),
    value: r => {
      const [key, type] = r.pick(members);
      const make = type.value(r);
      return lib => (key === 'nothing' ? { tag: key } : { tag: key, value: make(lib) });
    },
  };
}

function npmBytes(type, value) {
  const w = new npm.BinaryWriter(64);
  npm.AlgebraicType.makeSerializer(type.algebraicType)(w, value);
  return hex(w.getBuffer());
}

test('random values of random types are the same bytes as from the npm package', () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  const r = randomOf(seed + 1);
  for (let i = 0; i < 400; i++) {
    const made = randomType(r, 3);
    const [ours, theirs] = [made.of(own), made.of(npm)];
    for (let k = 0; k < 5; k++) {
      const value = made.value(r);
      const bytes = encode(ours, value(own));
      assert.equal(bytes, npmBytes(theirs, value(npm)), `seed ${seed}, type ${i}`);
      assert.equal(encode(ours, decode(ours, bytes)), bytes, `seed ${seed}, type ${i}: there and back`);
    }
  }
});

test('compiled source and closures are the same codec', () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  const r = randomOf(seed + 2);
  for (let i = 0; i < 300; i++) {
    const made = randomType(r, 3);
    const { shape } = made.of(own);
    const [a, b] = [compileSource(shape), compileClosures(shape)];
    const value = made.value(r)(own);
    const [x, y] = [new Writer(), new Writer()];
    a.write(x, value);
    b.write(y, value);
    assert.equal(hex(x.finish()), hex(y.finish()), `seed ${seed}, type ${i}`);
    assert.deepEqual(a.read(new Reader(x.finish())), b.read(new Reader(x.finish())), `seed ${seed}, type ${i}`);
  }
});

test('bytes that are cut or changed give an error or a value, and never more than they are', () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  const r = randomOf(seed + 3);
  for (let i = 0; i < 300; i++) {
    const made = randomType(r, 3);
    const type = made.of(own);
    const whole = unhex(encode(type, made.value(r)(own)));
    const cut = whole.slice(0, r.below(whole.length + 1));
    for (let k = 0; k < 3 && cut.length > 0; k++) cut[r.below(cut.length)] ^= 1 << r.below(8);
    // What lies behind the end of the message must not be read.
    const memory = new Uint8Array(cut.length + 64).fill(0xee);
    memory.set(cut, 32);
    const reader = new Reader(memory.subarray(32, 32 + cut.length));
    try {
      type.codec.read(reader);
      assert.ok(reader.at <= cut.length, `seed ${seed}, type ${i}`);
    } catch (error) {
      assert.ok(error instanceof RangeError || error.name === 'DecodeError', `seed ${seed}, type ${i}: ${error.stack}`);
    }
  }
});

test('what a type cannot hold is refused, not cut', () => {
  for (const [type, value] of [
    [t.u8(), 256], [t.u8(), -1], [t.u8(), 1.5], [t.u8(), '1'], [t.i8(), 128], [t.u16(), 65536], [t.i32(), 2 ** 31],
    [t.u32(), -1], [t.u32(), NaN], [t.u64(), -1n], [t.u64(), 1], [t.u64(), 2n ** 64n], [t.i64(), 2n ** 63n],
    [t.u128(), 2n ** 128n], [t.i128(), -(2n ** 127n) - 1n], [t.u256(), -1n], [t.i256(), 2n ** 255n], [t.bool(), 1],
    [t.string(), 7], [t.byteArray(), [1]], [t.array(t.u8()), 'ab'], [Shape, { tag: 'Square' }],
  ])
    assert.throws(() => encode(type, value), RangeError, `${type.shape.kind} ${String(value)}`);
});

test('64 bits are the same by way of numbers and of bigints, around every power of two', () => {
  const view = new DataView(new ArrayBuffer(8));
  const around = Array.from({ length: 68 }, (_, bit) => [-2n, -1n, 0n, 1n, 2n].flatMap(by => [2n ** BigInt(bit) + by, by - 2n ** BigInt(bit)]));
  for (const n of around.flat()) {
    for (const [type, fits] of [[t.u64(), BigInt.asUintN(64, n) === n], [t.i64(), BigInt.asIntN(64, n) === n]]) {
      if (!fits) {
        assert.throws(() => encode(type, n), RangeError, `${type.shape.kind} ${n}`);
        continue;
      }
      view.setBigUint64(0, BigInt.asUintN(64, n), true);
      const bytes = Buffer.from(view.buffer).toString('hex');
      assert.equal(encode(type, n), bytes, `${type.shape.kind} ${n}`);
      assert.equal(decode(type, bytes), n);
      if (type.shape.kind === 'i64') assert.equal(encode(t.timestamp(), new Timestamp(n)), bytes, `timestamp ${n}`);
    }
    if (BigInt.asIntN(64, n) !== n) assert.throws(() => new Timestamp(n), RangeError);
  }
});

test('bad tags, bad booleans and bad text are named', () => {
  assert.throws(() => decode(t.bool(), '02'), /byte 2 not valid as bool/);
  assert.throws(() => decode(Shape, '09'), /unknown tag 0x9 for sum type Shape/);
  assert.throws(() => decode(t.option(t.u8()), '0207'), /unknown tag 0x2 for sum type Option/);
  assert.throws(() => decode(t.string(), '02000000ff61'), /invalid utf8/);
  assert.throws(() => decode(t.string(), 'ffffffff61'), /Expected 4294967295, given 1/);
  assert.throws(() => decode(t.array(t.unit()), 'ffffffff'), /an array of 4294967295 elements/);
});

test('types may be recursive', () => {
  const Tree = t.object('Tree', { value: t.u8(), get children() { return t.array(Tree); } });
  const tree = { value: 1, children: [{ value: 2, children: [] }, { value: 3, children: [{ value: 4, children: [] }] }] };
  assert.deepEqual(decode(Tree, encode(Tree, tree)), tree);
  const List = t.object('List', { head: t.u8(), tail: t.option(t.lazy(() => List)) });
  const list = { head: 1, tail: { head: 2, tail: undefined } };
  assert.deepEqual(decode(List, encode(List, list)), list);
});

test('identities that come again are the same object; others are not mixed up', () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  const r = randomOf(seed + 4);
  const all = Array.from({ length: 2000 }, () => r.bits(256));
  const bytes = unhex(encode(t.array(t.identity()), [...all, ...all].map(n => new Identity(n))));
  const read = decode(t.array(t.identity()), bytes);
  read.forEach((one, i) => assert.equal(one.__identity__, all[i % all.length], `seed ${seed}`));
  const twice = decode(t.array(t.identity()), encode(t.array(t.identity()), [new Identity(5n), new Identity(5n)]));
  assert.equal(twice[0], twice[1]);
});

test('times and ids print as everybody else prints them', () => {
  assert.equal(new Timestamp(1700000000123456n).toISOString(), '2023-11-14T22:13:20.123456Z');
  assert.equal(new Timestamp(-1n).toISOString(), '1969-12-31T23:59:59.999999Z');
  assert.equal(Uuid.parse('01888d6e-5c00-7000-8000-000000000001').toString(), '01888d6e-5c00-7000-8000-000000000001');
  assert.equal(Uuid.random().getVersion(), 'V4');
  const counter = { value: 5 };
  const seven = Uuid.fromCounterV7(counter, new Timestamp(1700000000123456n), new Uint8Array([255, 2, 3, 4]));
  assert.deepEqual([seven.getVersion(), seven.getCounter(), counter.value], ['V7', 5, 6]);
  assert.equal(npm.Uuid.parse(seven.toString()).__uuid__, seven.__uuid__);
  assert.equal(Number(seven.__uuid__ >> 80n), 1700000000123);
  assert.throws(() => new Identity('12'), /64 hex digits/);
});
