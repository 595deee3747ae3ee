// tables.ts: tables as modules declare them, and as their functions use them.
//
// PICTURE
//   table({ name: 'player', public: true }, { id: t.u64().primaryKey(), … })      TableSpec: what it is
//        │ one for each database that a schema puts it into
//        ▼
//   ctx.db.player  .insert(row) .iter() .count() .delete(row) .clear()            TableAccess: how it is used
//   ctx.db.player.id     .find(v) .update(row) .delete(v)      unique columns
//   ctx.db.player.level  .filter(v | Range) .delete(v | Range)  other indexes
//
// ALWAYS TRUE
//   (1) Ids are asked for once, at first use: modules may not talk to the database while they are loaded.
//   (2) One scratch buffer serves everything that is over when the call returns; an iterator has a buffer
//       of its own until it ends, because code runs between its rows.
import * as sys from 'spacetime:sys@2.0';
import * as sys1 from 'spacetime:sys@2.1';
import { Reader, Writer, type Codec } from '../core/bytes.js';
import type { AnyType, ColumnOptions, Fields, IndexAlgorithm, Infer, InferFields, TypeBuilder } from '../core/types.js';
import { ObjectType } from '../core/types.js';

// ---- declaring

export type IndexOptions<Keys extends string = string> = {
  readonly accessor: string;
  /** Its name in the database; made of table and columns otherwise. */
  readonly name?: string;
} & (
  | { readonly algorithm: 'btree' | 'hash'; readonly columns: readonly Keys[] }
  | { readonly algorithm: 'direct'; readonly column: Keys }
);

export interface TableOptions<Keys extends string = string> {
  readonly name?: string;
  /** Anybody may read it; without, only the module and the database's owner. */
  readonly public?: boolean;
  /** Rows are told to subscribers and not kept. */
  readonly event?: boolean;
  /** The reducer or procedure that is called at the times its rows name. */
  readonly scheduled?: () => unknown;
  readonly indexes?: readonly IndexOptions<Keys>[];
}

export interface IndexSpec {
  readonly accessor: string;
  readonly algorithm: IndexAlgorithm;
  readonly columns: readonly string[]; // keys
  readonly explicitName: string | undefined;
}

export class TableSpec<F extends Fields = Fields, O extends TableOptions = TableOptions> {
  readonly rowType: ObjectType<F>;
  constructor(
    readonly options: O,
    readonly columns: F
  ) {
    this.rowType = new ObjectType<F>(options.name, columns);
  }
}

export function table<const F extends Fields, const O extends TableOptions<keyof F & string>>(
  options: O,
  columns: F | ObjectType<F>
): TableSpec<F, O> {
  return new TableSpec<F, O>(options, columns instanceof ObjectType ? columns.fields : columns);
}

export const isUnique = ({ primaryKey, unique }: ColumnOptions): boolean => primaryKey === true || unique === true;

/** All indexes of a table: those of its columns, then those of its options. */
export function indexesOf({ options, columns }: TableSpec): IndexSpec[] {
  const list: IndexSpec[] = [];
  for (const key of Object.keys(columns)) {
    const { index, ...rest } = columns[key]!.options;
    if (index || isUnique(rest))
      list.push({ accessor: key, algorithm: index ?? 'btree', columns: [key], explicitName: undefined });
  }
  for (const index of options.indexes ?? []) {
    const keys = index.algorithm === 'direct' ? [index.column] : index.columns;
    const isThere = list.some(
      other => other.algorithm === index.algorithm && other.columns.join() === keys.join() && other.accessor === index.accessor
    );
    if (!isThere)
      list.push({ accessor: index.accessor, algorithm: index.algorithm, columns: keys, explicitName: index.name });
  }
  return list;
}

export const columnName = (columns: Fields, key: string): string => columns[key]!.options.columnName ?? key;

export function indexName(table: string, columns: Fields, { columns: keys, algorithm }: IndexSpec): string {
  return `${table}_${keys.map(key => columnName(columns, key)).join('_')}_idx_${algorithm}`;
}

// ---- ranges

export type RangeBound<T> =
  | { readonly tag: 'included' | 'excluded'; readonly value: T }
  | { readonly tag: 'unbounded' };

/** From … to …: `new Range({ tag: 'included', value: 10 })` is everything from 10 on. */
export class Range<T> {
  constructor(
    readonly from: RangeBound<T> = { tag: 'unbounded' },
    readonly to: RangeBound<T> = { tag: 'unbounded' }
  ) {}
}

function writeBound(w: Writer, codec: Codec<any>, bound: RangeBound<unknown>): void {
  if (bound.tag === 'unbounded') return w.u8(2);
  w.u8(bound.tag === 'included' ? 0 : 1);
  codec.write(w, bound.value);
}

// ---- what tables look like to functions

type Row<F extends Fields> = InferFields<F>;
type OptionsOf<B> = B extends TypeBuilder<any, infer O> ? O : never;
type UniqueKeys<F extends Fields> = {
  [K in keyof F]: OptionsOf<F[K]> extends { primaryKey: true } | { unique: true } ? K : never;
}[keyof F];
type IndexedKeys<F extends Fields> = {
  [K in keyof F]: OptionsOf<F[K]> extends { index: IndexAlgorithm } ? K : never;
}[keyof F];
type TableIndexes<O> = O extends { indexes: readonly (infer I)[] } ? I : never;
type IndexKeys<I> = I extends { columns: infer C } ? C : I extends { column: infer K } ? readonly [K] : never;
type KeyValues<F extends Fields, C> = C extends readonly [infer K extends keyof F, ...infer Rest]
  ? readonly [Infer<F[K]>, ...KeyValues<F, Rest>]
  : readonly [];
// The columns of an index from the left, all or some, of which the last may be a range.
type Prefix<V> = V extends readonly [infer A]
  ? readonly [A | Range<A>]
  : V extends readonly [infer A, ...infer Rest]
    ? readonly [A | Range<A>] | readonly [A, ...Prefix<Rest>]
    : never;
type Scan<V> = (V extends readonly [infer A, ...unknown[]] ? A | Range<A> : never) | Prefix<V>;

export interface ReadonlyTable<F extends Fields> {
  iter(): IterableIterator<Row<F>>;
  count(): bigint;
}
export interface Table<F extends Fields> extends ReadonlyTable<F> {
  /** The row as it was stored, with the numbers that auto-increment columns got. */
  insert(row: Row<F>): Row<F>;
  /** Whether there was such a row. */
  delete(row: Row<F>): boolean;
  /** All of them; how many that were. */
  clear(): bigint;
}
export interface ReadonlyUnique<F extends Fields, V> {
  find(value: V): Row<F> | null;
}
export interface Unique<F extends Fields, V> extends ReadonlyUnique<F, V> {
  /** Replaces the row that has this column's value. */
  update(row: Row<F>): Row<F>;
  delete(value: V): boolean;
}
export interface ReadonlyIndex<F extends Fields, V> {
  filter(values: Scan<V>): IterableIterator<Row<F>>;
}
export interface Index<F extends Fields, V> extends ReadonlyIndex<F, V> {
  /** How many there were. */
  delete(values: Scan<V>): number;
}

export type TableOf<F extends Fields, O> = Table<F> & {
  readonly [K in UniqueKeys<F>]: Unique<F, Infer<F[K]>>;
} & {
  readonly [K in Exclude<IndexedKeys<F>, UniqueKeys<F>>]: Index<F, readonly [Infer<F[K]>]>;
} & {
  readonly [I in TableIndexes<O> as I extends { accessor: infer A extends string } ? A : never]: Index<F, KeyValues<F, IndexKeys<I>>>;
};
export type ReadonlyTableOf<F extends Fields, O> = ReadonlyTable<F> & {
  readonly [K in UniqueKeys<F>]: ReadonlyUnique<F, Infer<F[K]>>;
} & {
  readonly [K in Exclude<IndexedKeys<F>, UniqueKeys<F>>]: ReadonlyIndex<F, readonly [Infer<F[K]>]>;
} & {
  readonly [I in TableIndexes<O> as I extends { accessor: infer A extends string } ? A : never]: ReadonlyIndex<F, KeyValues<F, IndexKeys<I>>>;
};

// ---- buffers

const SCRATCH_BYTES = 65536;

const scratch = new Writer(SCRATCH_BYTES);
let scratchReader = new Reader(scratch.data);
function readScratch(bytes: number): Reader {
  if (scratchReader.data !== scratch.data) scratchReader = new Reader(scratch.data);
  scratchReader.at = 0;
  scratchReader.end = bytes;
  return scratchReader;
}

const idle: Reader[] = []; // of iterators

function neededBytes(error: unknown): number {
  const needed = (error as { __buffer_too_small__?: number } | undefined)?.__buffer_too_small__;
  if (needed === undefined) throw error;
  return needed;
}

function* rowsOf(iter: number, codec: Codec<any>): IterableIterator<any> {
  let reader = idle.pop() ?? new Reader(new Uint8Array(SCRATCH_BYTES));
  let isOpen = true;
  try {
    while (isOpen) {
      let n: number;
      try {
        n = sys.row_iter_bsatn_advance(iter, reader.data.buffer as ArrayBuffer);
      } catch (error) {
        reader = new Reader(new Uint8Array(neededBytes(error)));
        continue;
      }
      isOpen = n > 0;
      reader.at = 0;
      reader.end = n < 0 ? -n : n;
      while (reader.at < reader.end) yield codec.read(reader);
    }
  } finally {
    if (isOpen) sys.row_iter_bsatn_close(iter);
    if (reader.data.length === SCRATCH_BYTES) idle.push(reader);
  }
}

/** The only row of a scan, or null. */
function oneRow(iter: number, codec: Codec<any>): unknown {
  const n = advance(iter);
  if (n > 0) sys.row_iter_bsatn_close(iter);
  return n === 0 ? null : codec.read(readScratch(n < 0 ? -n : n));
}
function advance(iter: number): number {
  try {
    return sys.row_iter_bsatn_advance(iter, scratch.buffer);
  } catch (error) {
    scratch.clear().raw(new Uint8Array(neededBytes(error)));
    return advance(iter);
  }
}

// ---- access

class TableAccess {
  private tableId: number | undefined;
  readonly codec: Codec<any>;
  private readonly generated: readonly { readonly key: string; readonly codec: Codec<any> }[];
  constructor(
    private readonly name: string,
    spec: TableSpec
  ) {
    this.codec = spec.rowType.codec;
    this.generated = Object.keys(spec.columns)
      .filter(key => spec.columns[key]!.options.autoInc)
      .map(key => ({ key, codec: spec.columns[key]!.codec }));
  }
  get id(): number {
    return (this.tableId ??= sys.table_id_from_name(this.name));
  }
  /** What the database filled in, put into the row. */
  stored(row: any, written: number): any {
    if (written === 0) return row;
    const r = readScratch(written);
    const made = { ...row };
    for (const { key, codec } of this.generated) {
      // Only zeros are replaced, and only what was replaced comes back.
      if (row[key] == 0) made[key] = codec.read(r);
    }
    return made;
  }
  insert(row: any): any {
    this.codec.write(scratch.clear(), row);
    return this.stored(row, sys.datastore_insert_bsatn(this.id, scratch.buffer, scratch.at));
  }
  delete(row: any): boolean {
    scratch.clear().u32(1);
    this.codec.write(scratch, row);
    return sys.datastore_delete_all_by_eq_bsatn(this.id, scratch.buffer, scratch.at) > 0;
  }
  clear(): bigint {
    return sys1.datastore_clear(this.id);
  }
  count(): bigint {
    return sys.datastore_table_row_count(this.id);
  }
  iter(): IterableIterator<any> {
    return rowsOf(sys.datastore_table_scan_bsatn(this.id), this.codec);
  }
}

class IndexAccess {
  private indexId: number | undefined;
  protected readonly codecs: readonly Codec<any>[];
  constructor(
    private readonly name: string,
    protected readonly table: TableAccess,
    columns: readonly AnyType[]
  ) {
    this.codecs = columns.map(column => column.codec);
  }
  get id(): number {
    return (this.indexId ??= sys.index_id_from_name(this.name));
  }
  protected point(value: unknown): void {
    this.codecs[0]!.write(scratch.clear(), value);
  }
  // A value, a Range, or of several columns the first few, of which the last may be a Range.
  private scan<T>(
    values: unknown,
    point: (index: number, key: ArrayBuffer, length: number) => T,
    range: (index: number, key: ArrayBuffer, prefix: number, columns: number, start: number, end: number) => T
  ): T {
    const { codecs } = this;
    const list: readonly unknown[] = Array.isArray(values) && (codecs.length > 1 || values.length === 1) ? values : [values];
    const last = list[list.length - 1];
    const prefixes = last instanceof Range ? list.length - 1 : list.length;
    scratch.clear();
    for (let i = 0; i < prefixes; i++) codecs[i]!.write(scratch, list[i]);
    if (prefixes === codecs.length) return point(this.id, scratch.buffer, scratch.at);
    const prefix = scratch.at;
    const { from, to } = last instanceof Range ? last : new Range<unknown>();
    writeBound(scratch, codecs[prefixes]!, from);
    const start = scratch.at - prefix;
    writeBound(scratch, codecs[prefixes]!, to);
    return range(this.id, scratch.buffer, prefix, prefixes, start, scratch.at - prefix - start);
  }
  filter(values: unknown): IterableIterator<any> {
    const iter = this.scan(values, sys.datastore_index_scan_point_bsatn, sys.datastore_index_scan_range_bsatn);
    return rowsOf(iter, this.table.codec);
  }
  delete(values: unknown): number | boolean {
    return this.scan(
      values,
      sys.datastore_delete_by_index_scan_point_bsatn,
      sys.datastore_delete_by_index_scan_range_bsatn
    );
  }
}

class UniqueAccess extends IndexAccess {
  find(value: unknown): unknown {
    this.point(value);
    return oneRow(sys.datastore_index_scan_point_bsatn(this.id, scratch.buffer, scratch.at), this.table.codec);
  }
  update(row: any): any {
    const { table } = this;
    table.codec.write(scratch.clear(), row);
    return table.stored(row, sys.datastore_update_bsatn(table.id, this.id, scratch.buffer, scratch.at));
  }
  override delete(value: unknown): boolean {
    this.point(value);
    return sys.datastore_delete_by_index_scan_point_bsatn(this.id, scratch.buffer, scratch.at) > 0;
  }
}

/**
 * `source`: what the module calls the table; `prefix`: "lib." in a submodule. Only what functions use is on
 * the object: a column may have any other name.
 */
export function tableAccess(prefix: string, source: string, spec: TableSpec): object {
  const access = new TableAccess(prefix + source, spec);
  const table = {
    insert: (row: any) => access.insert(row),
    delete: (row: any) => access.delete(row),
    clear: () => access.clear(),
    count: () => access.count(),
    iter: () => access.iter(),
    [Symbol.iterator]: () => access.iter(),
  };
  for (const index of indexesOf(spec)) {
    const name = prefix + (index.explicitName ?? indexName(source, spec.columns, index));
    const columns = index.columns.map(key => spec.columns[key]!);
    const isSingle = columns.length === 1 && isUnique(columns[0]!.options);
    const made = isSingle ? new UniqueAccess(name, access, columns) : new IndexAccess(name, access, columns);
    if (!Object.hasOwn(table, index.accessor))
      Object.defineProperty(table, index.accessor, { value: made, enumerable: true });
  }
  return table;
}
