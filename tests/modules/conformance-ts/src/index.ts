// The conformance module in TypeScript: the twin of tests/modules/conformance in C. What it declares
// and what each case must report is written in ../conformance/cases.txt; tests/e2e/conformance.test.mjs
// compares. Cases speak to the host itself where a line is about an errno or about bytes.
import { ConnectionId, Identity, TimeDuration, Timestamp, Uuid } from 'spacetimedb';
import { Router, ScheduleAt, SenderError, SyncResponse, errors, schema, table, t } from 'spacetimedb/server';
// @ts-ignore: the host provides these two
import * as sys from 'spacetime:sys@2.0';
// @ts-ignore
import * as sys1 from 'spacetime:sys@2.1';

// ---- what it declares

const Point = t.object('Point', { x: t.i32(), y: t.i32() });
const Shape = t.enum('Shape', { circle: t.f64(), box: Point, nothing: t.unit() });
const Color = t.enum('Color', ['red', 'green', 'blue']);

const all_types = table(
  { name: 'all_types', public: true },
  {
    id: t.u64().primaryKey().autoInc(),
    yes: t.bool(),
    i_tiny: t.i8(),
    u_tiny: t.u8(),
    i_short: t.i16(),
    u_short: t.u16(),
    i_int: t.i32(),
    u_int: t.u32(),
    i_long: t.i64(),
    u_long: t.u64(),
    i_wide: t.i128(),
    u_wide: t.u128(),
    i_huge: t.i256(),
    u_huge: t.u256(),
    f_single: t.f32(),
    f_double: t.f64(),
    text: t.string(),
    blob: t.byteArray(),
    numbers: t.array(t.u32()),
    words: t.array(t.string()),
    maybe_text: t.option(t.string()),
    maybe_number: t.option(t.u32()),
    outcome: t.result(t.u32(), t.string()),
    place: Point,
    shape: Shape,
    color: Color,
    who: t.identity(),
    link: t.connectionId(),
    moment: t.timestamp(),
    span: t.timeDuration(),
    label: t.uuid(),
    at: t.scheduleAt(),
    corners: t.array(Point),
    shapes: t.option(t.array(Shape)),
  }
);
const pair = table(
  {
    name: 'pair',
    public: true,
    indexes: [{ accessor: 'by_all', algorithm: 'btree', columns: ['a', 'b', 'c'] }],
  },
  { a: t.u32(), b: t.string().unique(), c: t.i64().index('hash') }
);
const counter = table({ name: 'counter', public: true }, { name: t.string().primaryKey(), value: t.i64() });
const event_log = table({ name: 'event_log', public: true, event: true }, { text: t.string() });
const tick = table(
  { name: 'tick', scheduled: (): any => run_tick },
  { id: t.u64().primaryKey().autoInc(), at: t.scheduleAt(), text: t.string() }
);
const report = table(
  { name: 'report', public: true },
  { id: t.u64().primaryKey().autoInc(), case_name: t.string(), line: t.string() }
);

const conformance = schema({ all_types, pair, counter, event_log, tick, report });
export default conformance;

// ---- the host by hand: BSATN, ids, errnos

class Bytes {
  list: number[] = [];
  u8(n: number) {
    this.list.push(n & 255);
    return this;
  }
  int(n: bigint, size: number) {
    for (let i = 0; i < size; i++) this.list.push(Number((n >> BigInt(8 * i)) & 255n));
    return this;
  }
  u32(n: number) {
    return this.int(BigInt(n), 4);
  }
  i64(n: number | bigint) {
    return this.int(BigInt(n), 8);
  }
  str(text: string) {
    const bytes = new TextEncoder().encode(text);
    this.u32(bytes.length);
    for (const byte of bytes) this.list.push(byte);
    return this;
  }
  add(other: Bytes) {
    this.list.push(...other.list);
    return this;
  }
  get size() {
    return this.list.length;
  }
  buffer() {
    return Uint8Array.from(this.list).buffer;
  }
}
const bytes = () => new Bytes();
const pairRow = (a: number, b: string, c: number) => bytes().u32(a).str(b).i64(c);
const counterRow = (name: string, value: number) => bytes().str(name).i64(value);
// Far enough not to fire, near enough to be accepted (two years and a bit are too far).
const nextYear = (ctx: any) => ctx.timestamp.__timestamp_micros_since_unix_epoch__ + 31536000000000n;
const tickRow = (id: bigint, time: bigint, text: string) => bytes().int(id, 8).u8(1).i64(time).str(text);

const NOWHERE = 4000000000;
const tableId = (name: string): number => sys.table_id_from_name(name);
const indexId = (name: string): number => sys.index_id_from_name(name);

// errno 10 has no class of its own: libraries of its time did not know it.
const errnos: [number, Function | undefined][] = [
  [1, errors.HostCallFailure], [2, errors.NotInTransaction], [3, errors.BsatnDecodeError], [4, errors.NoSuchTable],
  [5, errors.NoSuchIndex], [6, errors.NoSuchIter], [7, errors.NoSuchConsoleTimer], [8, errors.NoSuchBytes],
  [9, errors.NoSpace], [11, errors.BufferTooSmall], [12, errors.UniqueAlreadyExists], [13, errors.ScheduleAtDelayTooLong],
  [14, errors.IndexNotUnique], [15, errors.NoSuchRow], [16, errors.AutoIncOverflow], [17, errors.WouldBlockTransaction],
  [18, errors.TransactionNotAnonymous], [19, errors.TransactionIsReadOnly], [20, errors.TransactionIsMut], [21, errors.HttpError],
];
function errnoOf(error: any): number {
  for (const [errno, type] of errnos) if (type && error instanceof type) return errno;
  if (error?.name === 'SpacetimeHostError') return 10;
  throw error;
}

// What a host call answers: the text of its result, or `errno N`.
function told(call: () => unknown): string {
  try {
    const value = call();
    return value === undefined ? 'ok' : String(value);
  } catch (error) {
    return `errno ${errnoOf(error)}`;
  }
}
const isOk = (call: () => unknown) => told(() => void call());

const hex = (view: Uint8Array) => Array.from(view, byte => byte.toString(16).padStart(2, '0')).join('');

// All bytes that an iterator gives.
function drain(iter: number): Uint8Array {
  const parts: number[] = [];
  let size = 65536;
  for (;;) {
    const buffer = new ArrayBuffer(size);
    let n: number;
    try {
      n = sys.row_iter_bsatn_advance(iter, buffer);
    } catch (error: any) {
      if (!error || error.__buffer_too_small__ === undefined) throw error;
      size = error.__buffer_too_small__;
      continue;
    }
    for (const byte of new Uint8Array(buffer, 0, Math.abs(n))) parts.push(byte);
    if (n <= 0) return Uint8Array.from(parts);
  }
}

// Rows of `pair` in hex: how long each is stands in it.
function pairRows(iter: number): string[] {
  const all = drain(iter);
  const view = new DataView(all.buffer);
  const rows: string[] = [];
  for (let at = 0; at < all.length; ) {
    const size = 4 + 4 + view.getUint32(at + 4, true) + 8;
    rows.push(hex(all.subarray(at, at + size)));
    at += size;
  }
  return rows;
}
const listed = (iter: number) => {
  const rows = pairRows(iter);
  return [rows.length, ...rows].join(' ');
};

const count = (name: string) => String(sys.datastore_table_row_count(tableId(name)));
const clear = (name: string) => sys1.datastore_clear(tableId(name));

// `ok, written N`, or `errno N`; `size` is how much of the row is said to be there.
function insert(table: number, row: Bytes): string {
  return told(() => `ok, written ${sys.datastore_insert_bsatn(table, row.buffer(), row.size)}`);
}
function update(table: number, index: number, row: Bytes): string {
  return told(() => `ok, written ${sys.datastore_update_bsatn(table, index, row.buffer(), row.size)}`);
}
function fillPair() {
  clear('pair');
  for (const [a, b, c] of [[4, 'u', 1], [5, 'v', 2], [5, 'x', 3], [5, 'y', 3], [6, 'z', 5]] as const)
    sys.datastore_insert_bsatn(tableId('pair'), pairRow(a, b, c).buffer(), pairRow(a, b, c).size);
}

const B = 'pair_b_idx_btree';
const ABC = 'pair_a_b_c_idx_btree';
const C = 'pair_c_idx_hash';
const point = (index: string, key: Bytes) => sys.datastore_index_scan_point_bsatn(indexId(index), key.buffer(), key.size);

const from = (key: Bytes) => bytes().u8(0).add(key);
const after = (key: Bytes) => bytes().u8(1).add(key);
const open = () => bytes().u8(2);
const word = (n: number) => bytes().u32(n);
const long = (n: number) => bytes().i64(n);
const name = (text: string) => bytes().str(text);

type RangeCall = (index: number, key: ArrayBuffer, prefix: number, columns: number, start: number, end: number) => number;
function ranged(call: RangeCall, index: string, prefix: Bytes, columns: number, start: Bytes, end: Bytes): number {
  const key = bytes().add(prefix).add(start).add(end);
  return call(indexId(index), key.buffer(), prefix.size, columns, start.size, end.size);
}
const range = (index: string, prefix: Bytes, columns: number, start: Bytes, end: Bytes) =>
  ranged(sys.datastore_index_scan_range_bsatn, index, prefix, columns, start, end);

// ---- the cases

type Say = (line: string) => void;
type Case = (ctx: any, say: Say) => void;

// The library (2.10.1) writes err(…) as if it were of ok's type. So a row is written with a mark in
// that place, and the result is put where the mark is.
const MARK = 0xa1b2c3d4;
function insertAllTypes(ctx: any, row: any): Uint8Array {
  const into = tableId('all_types');
  const stored = () => drain(sys.datastore_table_scan_bsatn(into));
  clear('all_types');
  ctx.db.all_types.insert({ ...row, outcome: { ok: MARK } });
  const marked = stored();
  const pattern = bytes().u8(0).u32(MARK).list;
  const at = marked.findIndex((_, i) => pattern.every((byte, k) => marked[i + k] === byte));
  const outcome = 'err' in row.outcome ? bytes().u8(1).str(row.outcome.err) : bytes().u8(0).u32(row.outcome.ok);
  const whole = Uint8Array.from([...marked.subarray(0, at), ...outcome.list, ...marked.subarray(at + pattern.length)]);
  clear('all_types');
  sys.datastore_insert_bsatn(into, whole.buffer, whole.length);
  return stored();
}

function typesCase(row: any): Case {
  return (ctx, say) => {
    const stored = insertAllTypes(ctx, { id: 0n, ...row });
    say(`row ${hex(stored.subarray(8))}`);
    const [decoded] = [...ctx.db.all_types.iter()];
    const again = insertAllTypes(ctx, decoded);
    say(`decoded: ${hex(again) === hex(stored) ? 'same' : hex(again.subarray(8))}`);
    say(`count: ${count('all_types')}`);
  };
}
const least = (bits: number) => -(2n ** BigInt(bits - 1));
const most = (bits: number) => 2n ** BigInt(bits - 1) - 1n;
const all = (bits: number) => 2n ** BigInt(bits) - 1n;

const cases: Record<string, Case> = {
  types_lowest: typesCase({
    yes: false, i_tiny: -128, u_tiny: 0, i_short: -32768, u_short: 0, i_int: -2147483648, u_int: 0,
    i_long: least(64), u_long: 0n, i_wide: least(128), u_wide: 0n, i_huge: least(256), u_huge: 0n,
    f_single: -Infinity, f_double: -Infinity, text: '', blob: new Uint8Array(), numbers: [], words: [],
    maybe_text: undefined, maybe_number: undefined, outcome: { err: '' }, place: { x: -2147483648, y: -2147483648 },
    shape: { tag: 'nothing' }, color: { tag: 'red' }, who: new Identity(0n), link: new ConnectionId(0n),
    moment: new Timestamp(least(64)), span: new TimeDuration(least(64)), label: new Uuid(0n),
    at: ScheduleAt.interval(least(64)), corners: [], shapes: undefined,
  }),
  types_highest: typesCase({
    yes: true, i_tiny: 127, u_tiny: 255, i_short: 32767, u_short: 65535, i_int: 2147483647, u_int: 4294967295,
    i_long: most(64), u_long: all(64), i_wide: most(128), u_wide: all(128), i_huge: most(256), u_huge: all(256),
    f_single: Infinity, f_double: Infinity, text: '\u00e9\u20ac\u{1f600}', blob: new Uint8Array([255, 0, 254]),
    numbers: [0, 4294967295], words: ['', 'z'], maybe_text: '', maybe_number: 4294967295, outcome: { ok: 4294967295 },
    place: { x: 2147483647, y: 2147483647 }, shape: { tag: 'box', value: { x: 2147483647, y: -2147483648 } },
    color: { tag: 'blue' }, who: new Identity(all(256)), link: new ConnectionId(all(128)),
    moment: new Timestamp(most(64)), span: new TimeDuration(most(64)), label: new Uuid(all(128)),
    at: ScheduleAt.time(most(64)), corners: [{ x: 2147483647, y: -2147483648 }],
    shapes: [{ tag: 'nothing' }, { tag: 'circle', value: Infinity }],
  }),
  types_plain: typesCase({
    yes: true, i_tiny: -1, u_tiny: 2, i_short: -3, u_short: 4, i_int: -5, u_int: 6, i_long: -7n, u_long: 8n, i_wide: -9n,
    u_wide: 10n, i_huge: -11n, u_huge: 12n, f_single: 1.5, f_double: -2.25, text: 'text', blob: new Uint8Array([1, 2]),
    numbers: [3, 1, 2], words: ['one', 'two'], maybe_text: 'some', maybe_number: 7, outcome: { err: 'bad' },
    place: { x: 1, y: -1 }, shape: { tag: 'circle', value: 0.5 }, color: { tag: 'green' }, who: new Identity(0x11n),
    link: new ConnectionId(0x22n), moment: new Timestamp(1700000000000000n), span: new TimeDuration(1500000n),
    label: new Uuid(0x33n), at: ScheduleAt.interval(1000000n), corners: [{ x: 0, y: 0 }, { x: 3, y: 4 }],
    shapes: [{ tag: 'box', value: { x: 5, y: 6 } }, { tag: 'nothing' }, { tag: 'circle', value: 2 }],
  }),

  lookups(_ctx, say) {
    say(`table pair: ${isOk(() => tableId('pair'))}`);
    say(`table no_such_table: ${isOk(() => tableId('no_such_table'))}`);
    say(`index ${B}: ${isOk(() => indexId(B))}`);
    say(`index no_such_index: ${isOk(() => indexId('no_such_index'))}`);
    say(`count of table ${NOWHERE}: ${told(() => sys.datastore_table_row_count(NOWHERE))}`);
    say(`scan of table ${NOWHERE}: ${told(() => sys.datastore_table_scan_bsatn(NOWHERE))}`);
    say(`point scan of index ${NOWHERE}: ${told(() => sys.datastore_index_scan_point_bsatn(NOWHERE, word(1).buffer(), 4))}`);
    const bound = from(word(1)).add(from(word(1)));
    say(`range scan of index ${NOWHERE}: ${told(() => sys.datastore_index_scan_range_bsatn(NOWHERE, bound.buffer(), 0, 0, 5, 5))}`);
  },

  inserts(_ctx, say) {
    fillPair();
    const into = tableId('pair');
    say(`(7,"z",0): ${insert(into, pairRow(7, 'z', 0))}`);
    say(`(6,"z",5) again: ${isOk(() => sys.datastore_insert_bsatn(into, pairRow(6, 'z', 5).buffer(), 17))}`);
    say(`count: ${count('pair')}`);
    say(`2 bytes: ${insert(into, bytes().u8(1).u8(2))}`);
    say(`into table ${NOWHERE}: ${insert(NOWHERE, pairRow(1, 'n', 1))}`);
    say(`count: ${count('pair')}`);
  },

  sequences(ctx, say) {
    clear('tick');
    const into = tableId('tick');
    let id = 0n;
    const put = (given: bigint, text: string) =>
      told(() => {
        const row = tickRow(given, nextYear(ctx), text);
        const buffer = row.buffer();
        const written = sys.datastore_insert_bsatn(into, buffer, row.size);
        id = written === 8 ? new DataView(buffer).getBigUint64(0, true) : given;
        return `ok, written ${written}`;
      });
    say(`first: ${put(0n, 'first')}`);
    const first = id;
    say(`second: ${put(0n, 'second')}`);
    const second = id;
    say(`second minus first: ${second - first}`);
    say(`id first plus 1000 given: ${put(first + 1000n, 'given')}`);
    put(0n, 'third');
    const third = id;
    say(`third minus second: ${third - second}`);
    say(`id third plus 1 given: ${put(third + 1n, 'in the way')}`);
    say(`fourth: ${put(0n, 'fourth')}`);
    put(0n, 'fifth');
    say(`fifth minus third: ${id - third}`);
    clear('tick');
  },

  updates(ctx, say) {
    clear('counter');
    const into = tableId('counter');
    const by = indexId('counter_name_idx_btree');
    insert(into, counterRow('a', 1));
    insert(into, counterRow('b', 2));
    say(`("a",10): ${update(into, by, counterRow('a', 10))}`);
    say(`("a",10) again: ${update(into, by, counterRow('a', 10))}`);
    say(`value of a: ${ctx.db.counter.name.find('a').value}`);
    say(`("c",3): ${update(into, by, counterRow('c', 3))}`);
    say(`2 bytes: ${update(into, by, bytes().u8(1).u8(2))}`);
    say(`in table ${NOWHERE}: ${update(NOWHERE, by, counterRow('a', 1))}`);
    say(`by index ${NOWHERE}: ${update(into, NOWHERE, counterRow('a', 1))}`);
    say(`by the index of another table: ${update(into, indexId(B), counterRow('a', 1))}`);
    say(`count: ${count('counter')}`);
  },

  update_conflicts(_ctx, say) {
    fillPair();
    const into = tableId('pair');
    say(`(6,"z",6) by a_b_c: ${update(into, indexId(ABC), pairRow(6, 'z', 6))}`);
    say(`(9,"z",9) by b: ${update(into, indexId(B), pairRow(9, 'z', 9))}`);
    say(`row of z: ${listed(point(B, name('z')))}`);
    say(`count: ${count('pair')}`);
  },

  update_write_back(ctx, say) {
    clear('tick');
    const { id } = ctx.db.tick.insert({ id: 0n, at: ScheduleAt.time(nextYear(ctx)), text: 'one' });
    say(`update: ${update(tableId('tick'), indexId('tick_id_idx_btree'), tickRow(id, nextYear(ctx), 'two'))}`);
    say(`count: ${count('tick')}`);
    say(`text: ${ctx.db.tick.id.find(id).text}`);
  },

  scans_point(_ctx, say) {
    fillPair();
    say(`b = "x": ${listed(point(B, name('x')))}`);
    say(`b = "none": ${listed(point(B, name('none')))}`);
    say(`a, b, c = 5, "x", 3: ${listed(point(ABC, pairRow(5, 'x', 3)))}`);
    say(`c = 3 by hash: ${pairRows(point(C, long(3))).length}`);
    say(`key too short: ${isOk(() => point(C, word(3)))}`);
    say(`key too long: ${isOk(() => point(C, long(3).u8(0)))}`);
  },

  scans_range(_ctx, say) {
    fillPair();
    const none = bytes();
    const five = word(5);
    const fiveX = word(5).str('x');
    const lines: [string, Bytes, number, Bytes, Bytes][] = [
      ['| unbounded | unbounded', none, 0, open(), open()],
      ['| from 5 | unbounded', none, 0, from(five), open()],
      ['| after 5 | unbounded', none, 0, after(five), open()],
      ['| unbounded | to 5', none, 0, open(), from(five)],
      ['| unbounded | before 5', none, 0, open(), after(five)],
      ['| from 5 | to 5', none, 0, from(five), from(five)],
      ['| after 4 | before 6', none, 0, after(word(4)), after(word(6))],
      ['| from 6 | to 4', none, 0, from(word(6)), from(word(4))],
      ['| after 5 | to 5', none, 0, after(five), from(five)],
      ['5 | unbounded | unbounded', five, 1, open(), open()],
      ['5 | from "x" | unbounded', five, 1, from(name('x')), open()],
      ['5 | after "x" | unbounded', five, 1, after(name('x')), open()],
      ['5 | unbounded | before "x"', five, 1, open(), after(name('x'))],
      ['5 | unbounded | to "x"', five, 1, open(), from(name('x'))],
      ['5 | from "x" | to "x"', five, 1, from(name('x')), from(name('x'))],
      ['5, "x" | unbounded | unbounded', fiveX, 2, open(), open()],
      ['5, "x" | from 3 | to 3', fiveX, 2, from(long(3)), from(long(3))],
      ['5, "x" | after 3 | unbounded', fiveX, 2, after(long(3)), open()],
      ['5, "x", 3 | unbounded | unbounded', pairRow(5, 'x', 3), 3, open(), open()],
      ['5 | too short | unbounded', five, 1, bytes().u8(0).u8(1), open()],
    ];
    for (const [text, prefix, columns, start, end] of lines)
      say(`${text}: ${told(() => listed(range(ABC, prefix, columns, start, end)))}`);
    say(`c from 1 to 5 by hash: ${isOk(() => range(C, none, 0, from(long(1)), from(long(5))))}`);
    say(`b, 1 prefix: ${isOk(() => range(B, name('x'), 1, open(), open()))}`);
  },

  deletes(_ctx, say) {
    const from_pair = (text: string, remove: () => unknown) => {
      fillPair();
      const answer = told(remove);
      say(answer.startsWith('errno') ? `${text}: ${answer}` : `${text}: ${answer}, left ${count('pair')}`);
    };
    const byPoint = (index: string, key: Bytes) => sys.datastore_delete_by_index_scan_point_bsatn(indexId(index), key.buffer(), key.size);
    const byRange = (index: string, prefix: Bytes, columns: number, start: Bytes, end: Bytes) =>
      ranged(sys.datastore_delete_by_index_scan_range_bsatn, index, prefix, columns, start, end);
    from_pair('point b = "x"', () => byPoint(B, name('x')));
    from_pair('point b = "none"', () => byPoint(B, name('none')));
    from_pair('point c = 3 by hash', () => byPoint(C, long(3)));
    from_pair('range a = 5', () => byRange(ABC, bytes(), 0, from(word(5)), from(word(5))));
    from_pair('range a = 5, b after "v"', () => byRange(ABC, word(5), 1, after(name('v')), open()));
    from_pair('range of c by hash', () => byRange(C, bytes(), 0, from(long(1)), from(long(5))));
    const relation = bytes().u32(3).add(pairRow(4, 'u', 1)).add(pairRow(6, 'z', 5)).add(pairRow(0, '', 0));
    const equal = (table: number, rows: Bytes) => sys.datastore_delete_all_by_eq_bsatn(table, rows.buffer(), rows.size);
    from_pair('equal to (4,"u",1), (6,"z",5), (0,"",0)', () => equal(tableId('pair'), relation));
    from_pair('equal to 2 bytes', () => equal(tableId('pair'), bytes().u8(1).u8(2)));
    from_pair(`in table ${NOWHERE}`, () => equal(NOWHERE, relation));
    from_pair('clear', () => clear('pair'));
    say(`clear again: ${clear('pair')}, left ${count('pair')}`);
    say(`clear table ${NOWHERE}: ${told(() => sys1.datastore_clear(NOWHERE))}`);
  },

  iterators(_ctx, say) {
    fillPair();
    const advance = (iter: number, size: number) => {
      try {
        const n = sys.row_iter_bsatn_advance(iter, new ArrayBuffer(size));
        return `${Math.abs(n)}, ${n <= 0 ? 'at the end' : 'more'}`;
      } catch (error: any) {
        if (error?.__buffer_too_small__ !== undefined) return `too small, needs ${error.__buffer_too_small__}`;
        return `errno ${errnoOf(error)}`;
      }
    };
    const iter = sys.datastore_table_scan_bsatn(tableId('pair'));
    say(`1 byte: ${advance(iter, 1)}`);
    say(`85 bytes: ${advance(iter, 85)}`);
    say(`again: ${advance(iter, 85)}`);
    say(`close: ${isOk(() => sys.row_iter_bsatn_close(iter))}`);
    say(`close of handle ${NOWHERE}: ${isOk(() => sys.row_iter_bsatn_close(NOWHERE))}`);
    say(`advance of handle ${NOWHERE}: ${advance(NOWHERE, 85)}`);
    clear('pair');
    say(`empty: ${advance(sys.datastore_table_scan_bsatn(tableId('pair')), 85)}`);
    fillPair();
    const early = sys.datastore_table_scan_bsatn(tableId('pair'));
    sys.row_iter_bsatn_close(early);
    say(`closed early, advance: ${advance(early, 85)}`);
  },

  chunks(ctx, say) {
    clear('pair');
    const into = tableId('pair');
    for (let i = 0; i < 5000; i++) insert(into, pairRow(i, String(i), i));
    let rows = 0, sum = 0n, deleted = 0;
    for (const row of ctx.db.pair.iter()) {
      rows++;
      sum += row.c;
      if (ctx.db.pair.b.delete(row.b)) deleted++;
    }
    say(`rows: ${rows}`);
    say(`sum of c: ${sum}`);
    say(`deleted: ${deleted}`);
    say(`left: ${count('pair')}`);
  },

  own_writes(_ctx, say) {
    fillPair();
    const into = tableId('pair');
    const began = sys.datastore_table_scan_bsatn(into);
    insert(into, pairRow(1, 'n', 1));
    say(`scan began, (1,"n",1) inserted, rows of the scan: ${pairRows(began).length}`);
    say(`rows now: ${count('pair')}`);
    sys.datastore_delete_by_index_scan_point_bsatn(indexId(B), name('x').buffer(), name('x').size);
    say(`(5,"x",3) deleted, rows now: ${count('pair')}`);
    insert(into, pairRow(5, 'x', 3));
    say(`(5,"x",3) inserted, rows now: ${count('pair')}`);
  },

  events(ctx, say) {
    ctx.db.event_log.insert({ text: 'seen' });
    ctx.db.event_log.insert({ text: 'seen' });
    say(`count: ${count('event_log')}`);
    say(`row ${hex(drain(sys.datastore_table_scan_bsatn(tableId('event_log'))))}`);
  },

  transactions(_ctx, say) {
    say(`procedure_start_mut_tx: ${isOk(() => sys.procedure_start_mut_tx())}`);
    say(`procedure_commit_mut_tx: ${isOk(() => sys.procedure_commit_mut_tx())}`);
    say(`procedure_abort_mut_tx: ${isOk(() => sys.procedure_abort_mut_tx())}`);
  },

  console(_ctx, say) {
    for (let level = 0; level <= 4; level++) sys.console_log(level, `level ${level}`);
    let timer = 0;
    say(`timer: ${isOk(() => (timer = sys.console_timer_start('span')))}`);
    say(`end: ${isOk(() => sys.console_timer_end(timer))}`);
    say(`end again: ${isOk(() => sys.console_timer_end(timer))}`);
    say(`end of timer ${NOWHERE}: ${isOk(() => sys.console_timer_end(NOWHERE))}`);
  },

  identities(ctx, say) {
    say(`database: ${sys.identity() === ctx.databaseIdentity.__identity__ ? 'same' : 'another'}`);
    const jwt = new TextDecoder().decode(sys.get_jwt_payload(ctx.connectionId.__connection_id__));
    say(`jwt begins with {: ${jwt.startsWith('{')}`);
    say(`jwt of nobody: ${sys.get_jwt_payload(1n).length === 0 ? 'none' : 'some'}`);
  },

  schedule_errors(_ctx, say) {
    say(`too far: ${insert(tableId('tick'), tickRow(0n, 9000000000000000000n, 'far'))}`);
    clear('tick');
  },
  schedule_once(ctx, say) {
    clear('tick');
    say(`inserted: ${isOk(() => ctx.db.tick.insert({ id: 0n, at: ScheduleAt.time(1000n), text: 'once' }))}`);
  },
  schedule_interval(ctx, say) {
    say(`inserted: ${isOk(() => ctx.db.tick.insert({ id: 0n, at: ScheduleAt.interval(10000n), text: 'often' }))}`);
  },
  schedule_stop(_ctx, say) {
    say(`cleared: ${clear('tick')}`);
  },
  immediate(_ctx, say) {
    const args = new Uint8Array(name('noted').buffer());
    say(`queued: ${isOk(() => sys.volatile_nonatomic_schedule_immediate('run_case', args))}`);
  },
  noted(ctx, say) {
    say(`sender is the database: ${ctx.sender.isEqual(ctx.databaseIdentity)}`);
  },

  counters(ctx, say) {
    clear('counter');
    ctx.db.counter.insert({ name: 'alpha', value: 1n });
    ctx.db.counter.insert({ name: 'beta', value: 2n });
    ctx.db.counter.insert({ name: ctx.sender.toHexString(), value: 7n });
    say(`counters: ${count('counter')}`);
  },
  counters_change(ctx, say) {
    ctx.db.counter.name.update({ name: ctx.sender.toHexString(), value: 8n });
    ctx.db.counter.name.delete('alpha');
    say(`counters: ${count('counter')}`);
  },
  user_error(ctx) {
    ctx.db.counter.insert({ name: 'lost', value: 1n });
    throw new SenderError('wanted');
  },
  trap(ctx) {
    ctx.db.counter.insert({ name: 'lost', value: 1n });
    (undefined as any).nowhere;
  },
};

export const run_case = conformance.reducer({ name: t.string() }, (ctx, { name }) => {
  if (!Object.hasOwn(cases, name)) throw new SenderError(`unknown case ${name}`);
  const lines: string[] = [];
  cases[name]!(ctx, line => lines.push(line));
  for (const line of lines) ctx.db.report.insert({ id: 0n, case_name: name, line });
});

export const run_tick = conformance.reducer({ row: tick.rowType }, (ctx, { row }) => {
  ctx.db.report.insert({ id: 0n, case_name: 'tick', line: row.text });
});

// ---- cases of procedures

// GET http://127.0.0.1:1/, HTTP/1.1, no headers, no timeout.
const localRequest = () => new Uint8Array(bytes().u8(0).u32(0).u8(1).str('http://127.0.0.1:1/').u8(2).buffer());

const procedures: Record<string, Case> = {
  data_outside(_ctx, say) {
    say(`table pair: ${isOk(() => tableId('pair'))}`);
    say(`count of table 4096: ${told(() => sys.datastore_table_row_count(4096))}`);
    say(`insert into table 4096: ${insert(4096, counterRow('x', 1))}`);
  },
  transactions(ctx, say) {
    const commit = () => isOk(() => sys.procedure_commit_mut_tx());
    const abort = () => isOk(() => sys.procedure_abort_mut_tx());
    const start = () => isOk(() => sys.procedure_start_mut_tx());
    say(`commit: ${commit()}`);
    say(`abort: ${abort()}`);
    say(`start: ${start()}`);
    say(`start again: ${start()}`);
    clear('counter');
    insert(tableId('counter'), counterRow('p', 1));
    say(`commit: ${commit()}`);
    say(`start: ${start()}`);
    insert(tableId('counter'), counterRow('q', 2));
    say(`abort: ${abort()}`);
    say(`commit: ${commit()}`);
    say(`rows: ${ctx.withTx(() => count('counter'))}`);
  },
  left_open(_ctx, say) {
    say(`start: ${isOk(() => sys.procedure_start_mut_tx())}`);
    insert(tableId('counter'), counterRow('open', 1));
  },
  http(_ctx, say) {
    const none = new Uint8Array();
    say(`private address: ${isOk(() => sys.procedure_http_request(localRequest(), none))}`);
    sys.procedure_start_mut_tx();
    say(`in a transaction: ${isOk(() => sys.procedure_http_request(localRequest(), none))}`);
    sys.procedure_abort_mut_tx();
    say(`2 bytes: ${isOk(() => sys.procedure_http_request(new Uint8Array([1, 2]), none))}`);
  },
  timestamps(ctx, say) {
    const began = sys.procedure_start_mut_tx();
    sys.procedure_abort_mut_tx();
    say(`not before: ${began >= ctx.timestamp.__timestamp_micros_since_unix_epoch__}`);
  },
};

export const run_case_procedure = conformance.procedure({ name: t.string() }, t.string(), (ctx, { name }) => {
  if (!Object.hasOwn(procedures, name)) throw new SenderError(`unknown case ${name}`);
  const lines: string[] = [];
  procedures[name]!(ctx, line => lines.push(line));
  return lines.join('\n');
});

// ---- views and HTTP

export const my_counters = conformance.view({ name: 'my_counters', public: true }, t.array(counter.rowType), ctx => {
  const mine = ctx.db.counter.name.find(ctx.sender.toHexString());
  return mine ? [mine] : [];
});
export const all_counters = conformance.anonymousView({ name: 'all_counters', public: true }, t.array(counter.rowType), ctx =>
  Array.from(ctx.db.counter.iter())
);

export const page = conformance.httpHandler(
  () => new SyncResponse('hello', { status: 200, headers: { 'content-type': 'text/plain' } })
);
export const echo = conformance.httpHandler((_ctx, request) => new SyncResponse(request.bytes()));
export const routes = conformance.httpRouter(new Router().get('/page', page).any('/echo', echo));
