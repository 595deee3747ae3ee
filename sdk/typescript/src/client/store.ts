// store.ts: the rows of one table as the client holds them.
//
// PICTURE
//              server's messages                 calls that are under way
//                     │                                     │ guesses, made again whenever
//                     ▼                                     ▼ the rows below them change
//   held    key -> row, and how often        guess   key -> row | gone
//                     └──────────────┬──────────────────────┘
//                                 visible ── listeners, indexes, iter()
//
// A key is the primary key as a primitive, or the row's bytes as text where there is none. Several
// queries may send one row: it is held as often as it was sent, and gone when all of them took it away.
//
// While a lost connection is made up for, what the server says goes into `next` and nothing visible
// moves; then both states are compared, rows that are equal stay the objects they were, and the rest
// becomes one change.
//
// ALWAYS TRUE
//   (1) visible(key) = guess where there is one, else held.
//   (2) Everything visible changes only between begin() and finish(), which reports the difference: one
//       entry a key, none where nothing changed.
//   (3) A delete of a row that is not there is a DesyncError: what is shown would be wrong.
import { bytesKey, type Reader } from '../core/bytes.js';
import { Since } from './protocol.js';
import { keyOf, type Query, type TableDef, type TableOptions } from './query.js';

export type Key = string | number | bigint | boolean;
type Row = Record<string, unknown>;

/** The server and the client do not agree on what the client holds. */
export class DesyncError extends Error {
  override readonly name = 'DesyncError';
}

/** What became of one row: no `before` is an insert, no `after` a delete. */
export interface Change<R> {
  readonly before: R | undefined;
  readonly after: R | undefined;
}

class Held {
  readonly rows = new Map<Key, Row>();
  readonly extra = new Map<Key, number>(); // copies beyond the first
}

const GONE = Symbol('gone');
type Guess = Row | typeof GONE;

/** Rows by the value of some columns, kept current once somebody has asked. */
class Index {
  readonly rows = new Map<Key, Set<Row>>();
  constructor(readonly columns: readonly string[]) {}
  keyOf(row: Row): Key {
    const { columns } = this;
    if (columns.length === 1) return keyOf(row[columns[0]!]);
    return columns.map(column => keyText(row[column])).join('');
  }
  add(row: Row): void {
    const key = this.keyOf(row);
    const set = this.rows.get(key);
    if (set) set.add(row);
    else this.rows.set(key, new Set([row]));
  }
  remove(row: Row): void {
    const key = this.keyOf(row);
    const set = this.rows.get(key);
    if (!set?.delete(row)) return;
    if (set.size === 0) this.rows.delete(key);
  }
}

// Values of several columns in one text: their lengths keep them apart.
function keyText(value: unknown): string {
  const text = String(keyOf(value));
  return `${text.length}:${text}`;
}

/** Where the rows of a BsatnRowList are; leaves the reader behind the list. */
function eachRow(r: Reader, visit: (end: number) => void): void {
  const hint = r.u8();
  if (hint === 0) {
    const size = r.u16();
    const length = r.u32();
    const end = r.at + length;
    if (length > r.left) r.fail(`a row list of ${length} bytes`);
    if (size === 0) r.fail('rows without bytes');
    while (r.at < end) visit(r.at + size);
  } else if (hint === 1) {
    const count = r.u32();
    const offsets = r.at;
    r.skip(count * 8);
    const length = r.u32();
    const start = r.at;
    if (length > r.left) r.fail(`a row list of ${length} bytes`);
    const { data } = r;
    const offset = (i: number) => {
      const at = offsets + 8 * i;
      return (data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24)) >>> 0;
    };
    for (let i = 0; i < count; i++) visit(i + 1 < count ? start + offset(i + 1) : start + length);
    if (r.at !== start + length) r.fail('a row list whose rows are not its bytes');
  } else {
    r.badTag(hint, 'RowSizeHint');
  }
}

/** All rows of a list, for results that are not kept. */
export function readRows<R>(r: Reader, codec: { read(r: Reader): R }): R[] {
  const rows: R[] = [];
  eachRow(r, () => void rows.push(codec.read(r)));
  return rows;
}

export class Store {
  readonly name: string;
  readonly event: boolean;
  /** Moves whenever what is visible does. */
  version = 0;
  readonly onChange = new Set<(changes: readonly Change<any>[]) => void>();
  private held = new Held();
  private next: Held | undefined;
  private guesses = new Map<Key, Guess>();
  private touched: Map<Key, Row | undefined> | undefined;
  private isBulk = false;
  private readonly indexes = new Map<string, Index>();
  private readonly primaryKey: string | undefined;

  constructor(
    readonly def: TableDef<any, TableOptions>,
    private readonly write: (row: any) => Uint8Array
  ) {
    this.name = def.name;
    this.primaryKey = def.options.primaryKey;
    this.event = def.options.event === true;
  }

  // ---- reading

  get size(): number {
    if (this.guesses.size === 0) return this.held.rows.size;
    let size = this.held.rows.size;
    for (const [key, guess] of this.guesses) {
      const there = this.held.rows.has(key);
      if (guess === GONE) size -= there ? 1 : 0;
      else size += there ? 0 : 1;
    }
    return size;
  }
  visible(key: Key): Row | undefined {
    const guess = this.guesses.get(key);
    return guess === undefined ? this.held.rows.get(key) : guess === GONE ? undefined : guess;
  }
  *iter(): IterableIterator<Row> {
    if (this.guesses.size === 0) {
      yield* this.held.rows.values();
      return;
    }
    for (const [key, row] of this.held.rows) {
      const guess = this.guesses.get(key);
      if (guess === undefined) yield row;
      else if (guess !== GONE) yield guess;
    }
    for (const [key, guess] of this.guesses) if (guess !== GONE && !this.held.rows.has(key)) yield guess;
  }
  list(): Row[] {
    return this.guesses.size === 0 ? Array.from(this.held.rows.values()) : Array.from(this.iter());
  }
  find(column: string, value: unknown): Row | undefined {
    if (column === this.primaryKey) return this.visible(keyOf(value));
    for (const row of this.index([column]).rows.get(keyOf(value)) ?? []) return row;
    return undefined;
  }
  index(columns: readonly string[]): Index {
    const name = columns.join('\0');
    let index = this.indexes.get(name);
    if (!index) {
      index = new Index(columns);
      for (const row of this.iter()) index.add(row);
      this.indexes.set(name, index);
    }
    return index;
  }
  keyOf(row: Row): Key {
    if (this.primaryKey !== undefined) return keyOf(row[this.primaryKey]);
    const bytes = this.write(row);
    return bytesKey(bytes, 0, bytes.length);
  }

  // ---- changing

  /** From here to finish() the rows may change. `tables` that only fill up need no account of it. */
  begin(): void {
    this.touched ??= new Map();
    this.isBulk =
      this.onChange.size === 0 && this.indexes.size === 0 && this.guesses.size === 0 && this.touched.size === 0;
  }
  private touch(key: Key): void {
    if (!this.isBulk && !this.touched!.has(key)) this.touched!.set(key, this.visible(key));
  }
  /** Takes in the rows of a list. */
  insertRows(r: Reader): void {
    const state = this.next ?? this.held;
    const quiet = this.next !== undefined;
    const { codec } = this.def;
    const { rows } = state;
    if (this.primaryKey === undefined) {
      const { data } = r;
      eachRow(r, end => {
        const key = bytesKey(data, r.at, end);
        if (rows.has(key)) {
          this.more(state, key);
          r.at = end;
          return;
        }
        if (!quiet) this.touch(key);
        rows.set(key, codec.read(r));
        if (r.at !== end) r.fail(`a row of ${this.name} that is not what the bindings say`);
      });
    } else {
      const column = this.primaryKey;
      eachRow(r, () => {
        const row = codec.read(r) as Row;
        const value = row[column];
        const key = typeof value === 'object' ? keyOf(value)! : (value as Key);
        if (!quiet) this.touch(key);
        const before = rows.size;
        rows.set(key, row);
        if (rows.size === before) this.more(state, key);
      });
    }
    if (!quiet && this.isBulk) this.version++;
  }
  private more(state: Held, key: Key): void {
    state.extra.set(key, (state.extra.get(key) ?? 0) + 1);
  }
  /** Takes away one copy of each row of a list. */
  deleteRows(r: Reader): void {
    const state = this.next ?? this.held;
    const quiet = this.next !== undefined;
    const { data } = r;
    eachRow(r, end => {
      let key: Key;
      if (this.primaryKey === undefined) {
        key = bytesKey(data, r.at, end);
        r.at = end;
      } else {
        key = keyOf((this.def.codec.read(r) as Row)[this.primaryKey]);
      }
      if (!state.rows.has(key)) throw new DesyncError(`a row of ${this.name} that is not here was deleted`);
      const extra = state.extra.get(key);
      if (extra === undefined) {
        if (!quiet) this.touch(key);
        state.rows.delete(key);
      } else if (extra === 1) {
        state.extra.delete(key);
      } else {
        state.extra.set(key, extra - 1);
      }
    });
    if (!quiet && this.isBulk) this.version++;
  }
  /**
   * What changed while there was no connection: takes in what went and what came. Rows that went and came
   * back keep their place, and their object if they are the same.
   */
  since(kind: Since, r: Reader): void {
    if (kind === Since.Rows) {
      this.deleteRows(r);
      this.insertRows(r);
    } else if (kind === Since.Whole) {
      readRows(r, this.def.codec);
      this.refill();
      this.insertRows(r);
      this.swap();
    } else {
      if (this.primaryKey === undefined) r.fail(`keys of ${this.name}, which has none`);
      this.replaceKeys(this.keysOf(r), this.rowsByKey(r));
    }
  }
  private keysOf(r: Reader): Set<Key> {
    return new Set(this.rowsByKey(r).keys());
  }
  // Rows of a list with how often each is in it.
  private rowsByKey(r: Reader): Map<Key, [row: Row, count: number]> {
    const found = new Map<Key, [Row, number]>();
    for (const row of readRows(r, this.def.codec) as Row[]) {
      const key = keyOf(row[this.primaryKey!]);
      found.set(key, [row, (found.get(key)?.[1] ?? 0) + 1]);
    }
    return found;
  }
  private replaceKeys(gone: Set<Key>, came: Map<Key, [row: Row, count: number]>): void {
    const { rows, extra } = this.held;
    this.isBulk = false;
    for (const key of gone) {
      extra.delete(key);
      if (came.has(key) || !rows.has(key)) continue;
      this.touch(key);
      rows.delete(key);
    }
    for (const [key, [row, count]] of came) {
      const old = rows.get(key);
      this.touch(key);
      rows.set(key, old !== undefined && isSame(old, row) ? old : row);
      const copies = count + (gone.has(key) || old === undefined ? 0 : 1 + (extra.get(key) ?? 0));
      if (copies > 1) extra.set(key, copies - 1);
    }
  }
  /** Rows of an event table: told to listeners and forgotten. */
  events(r: Reader): any[] {
    return readRows(r, this.def.codec);
  }

  // ---- guesses: the tables as calls under way will leave them

  dropGuesses(): void {
    if (this.guesses.size === 0) return;
    for (const key of this.guesses.keys()) this.touch(key);
    this.guesses = new Map();
  }
  guess(key: Key, row: Row | undefined): void {
    this.isBulk = false;
    this.touch(key);
    if (row === undefined && !this.held.rows.has(key)) this.guesses.delete(key);
    else this.guesses.set(key, row ?? GONE);
  }

  // ---- making up for a lost connection

  get isRefilling(): boolean {
    return this.next !== undefined;
  }
  refill(): void {
    this.next = new Held();
  }
  dropRefill(): void {
    this.next = undefined;
  }
  /** What was filled in takes the place of what was held; call between begin() and finish(). */
  swap(): void {
    const { held, next } = this;
    if (!next) return;
    this.isBulk = false;
    for (const key of held.rows.keys()) if (!next.rows.has(key)) this.touch(key);
    for (const [key, row] of next.rows) {
      const old = held.rows.get(key);
      if (old !== undefined && isSame(old, row)) next.rows.set(key, old);
      else this.touch(key);
    }
    this.held = next;
    this.next = undefined;
  }

  /** The difference since begin(); indexes are current afterwards. */
  finish(): Change<any>[] {
    const touched = this.touched;
    this.touched = undefined;
    this.isBulk = false;
    const changes: Change<any>[] = [];
    if (!touched || touched.size === 0) return changes;
    for (const [key, before] of touched) {
      const after = this.visible(key);
      if (before === after) continue;
      for (const index of this.indexes.values()) {
        if (before) index.remove(before);
        if (after) index.add(after);
      }
      // A guess that came true, or the same row from another query, is no change.
      if (!before || !after || !isSame(before, after)) changes.push({ before, after });
    }
    if (changes.length > 0) this.version++;
    return changes;
  }
}

/** Are two values of one type equal? */
export function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || !a || !b) return Number.isNaN(a) && Number.isNaN(b);
  if (a instanceof Uint8Array || Array.isArray(a)) {
    const [x, y] = [a as ArrayLike<unknown>, b as ArrayLike<unknown>];
    if (x.length !== y.length) return false;
    for (let i = 0; i < x.length; i++) if (!isSame(x[i], y[i])) return false;
    return true;
  }
  if ('key' in a && typeof a.key === 'function') return keyOf(a) === keyOf(b);
  const names = Object.keys(a);
  if (names.length !== Object.keys(b).length) return false;
  return names.every(name => isSame((a as Row)[name], (b as Row)[name]));
}

/** The rows here that a query asks for. */
export function rowsOf(query: Query<any>, store: Store, other: Store | undefined): any[] {
  const { predicate, join } = query;
  let rows: any[] = store.list();
  if (predicate) rows = rows.filter(predicate.test);
  if (join && other) {
    const partners = other.index([join.otherKey]).rows;
    const condition = join.other.predicate;
    rows = rows.filter(row => {
      const found = partners.get(keyOf(row[join.key]));
      return found !== undefined && (!condition || [...found].some(condition.test));
    });
  }
  return rows;
}
