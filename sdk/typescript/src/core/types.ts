// types.ts: `t`, types as values: what modules declare their tables and functions with.
//
//   t.object('Point', { x: t.i32(), y: t.i32() })  ──>  a TypeBuilder<{ x: number; y: number }>
//                                                        .shape   what it is     (module definitions)
//                                                        .codec   bytes <-> value (compile.ts)
//
// Clients need none of it: their bindings are generated with codecs spelled out. Fields may be
// getters, so that types can mention each other in any order; nothing looks at them before it must.
import type { Codec, Result } from './bytes.js';
import { compile } from './compile.js';
import type { ConnectionId, Identity, ScheduleAt, TimeDuration, Timestamp, Uuid } from './ids.js';

/** Kinds that are one method of Reader and Writer by the same name. */
export type SimpleKind =
  | 'bool' | 'i8' | 'u8' | 'i16' | 'u16' | 'i32' | 'u32' | 'i64' | 'u64' | 'i128' | 'u128' | 'i256' | 'u256'
  | 'f32' | 'f64' | 'string' | 'bytes' | 'identity' | 'connectionId' | 'timestamp' | 'timeDuration' | 'uuid'
  | 'scheduleAt' | 'unit' | 'never';

export interface Member {
  readonly name: string;
  readonly type: AnyType;
}
export type Shape =
  | { readonly kind: SimpleKind }
  | { readonly kind: 'array' | 'option'; readonly element: AnyType }
  | { readonly kind: 'result'; readonly ok: AnyType; readonly err: AnyType }
  | { readonly kind: 'product'; name: string | undefined; readonly members: () => readonly Member[] }
  | { readonly kind: 'sum'; name: string | undefined; readonly members: () => readonly Member[] };

export type IndexAlgorithm = 'btree' | 'hash' | 'direct';

/** What a column is besides its type. */
export interface ColumnOptions {
  readonly primaryKey?: boolean;
  readonly unique?: boolean;
  readonly autoInc?: boolean;
  readonly index?: IndexAlgorithm;
  readonly columnName?: string;
  readonly defaultValue?: { readonly value: unknown };
}

declare const valueOfType: unique symbol;

export type AnyType = TypeBuilder<any, ColumnOptions>;
export type Infer<B> = B extends { readonly [valueOfType]: infer T }
  ? T
  : { -readonly [K in keyof B]: Infer<B[K]> };

export class TypeBuilder<T, O extends ColumnOptions = {}> {
  declare readonly [valueOfType]: T;
  private compiled: Codec<T> | undefined;
  constructor(
    readonly shape: Shape,
    readonly options: O = {} as O
  ) {}
  get codec(): Codec<T> {
    return (this.compiled ??= compile(this.shape) as Codec<T>);
  }
  private with<P extends ColumnOptions>(more: P): TypeBuilder<T, O & P> {
    return new TypeBuilder<T, O & P>(this.shape, { ...this.options, ...more });
  }
  /** The row's identity: unique, and rows with the same key are the same row, changed. */
  primaryKey(): TypeBuilder<T, O & { primaryKey: true }> {
    return this.with({ primaryKey: true });
  }
  /** No two rows with the same value; gives `find`, `update` and `delete` by it. */
  unique(): TypeBuilder<T, O & { unique: true }> {
    return this.with({ unique: true });
  }
  /** Insert zero and get the next number. */
  autoInc(): TypeBuilder<T, O & { autoInc: true }> {
    return this.with({ autoInc: true });
  }
  /** Fast `filter` by value, and with a btree by range. */
  index<A extends IndexAlgorithm = 'btree'>(algorithm?: A): TypeBuilder<T, O & { index: A }> {
    return this.with({ index: (algorithm ?? 'btree') as A });
  }
  /** What rows that exist already get when the column is added. */
  default(value: T): TypeBuilder<T, O & { defaultValue: { value: unknown } }> {
    return this.with({ defaultValue: { value } });
  }
  /** The column's name in the database, if not the key in snake case. */
  name<N extends string>(name: N): TypeBuilder<T, O & { columnName: N }> {
    return this.with({ columnName: name });
  }
  optional(): TypeBuilder<T | undefined> {
    return new TypeBuilder({ kind: 'option', element: this });
  }
}

export type Fields = Readonly<Record<string, AnyType>>;
export type InferFields<F> = { -readonly [K in keyof F]: Infer<F[K]> };

/** A type that has fields. `row` of a table is one, too. */
export class ObjectType<F extends Fields> extends TypeBuilder<InferFields<F>> {
  constructor(
    name: string | undefined,
    readonly fields: F
  ) {
    super({ kind: 'product', name, members: lazily(() => membersOf(fields)) });
  }
}

type Tagged<V> = {
  [K in keyof V & string]: Infer<V[K]> extends Unit ? { tag: K; value?: undefined } : { tag: K; value: Infer<V[K]> };
}[keyof V & string];
type Makers<V, S> = {
  readonly [K in keyof V & string as K extends keyof EnumType<any> ? never : K]: Infer<V[K]> extends Unit
    ? S
    : (value: Infer<V[K]>) => S;
};
export type Unit = Record<string, never>;
type UnitVariants<N extends string> = { readonly [K in N]: TypeBuilder<Unit> };

/** A type with variants; `Shape.circle(1.5)` makes a value of it, `Shape.nothing` is one. */
export class EnumType<V extends Fields> extends TypeBuilder<Tagged<V>> {
  constructor(
    name: string | undefined,
    readonly variants: V
  ) {
    super({ kind: 'sum', name, members: lazily(() => membersOf(variants)) });
    for (const tag of Object.keys(variants))
      if (!(tag in this)) Object.defineProperty(this, tag, { get: () => this.maker(tag), enumerable: true });
  }
  private maker(tag: string): unknown {
    if (this.variants[tag]!.shape.kind === 'unit') return { tag };
    return (value: unknown) => ({ tag, value });
  }
  create<K extends keyof V & string>(
    ...[tag, value]: Infer<V[K]> extends Unit ? [tag: K] : [tag: K, value: Infer<V[K]>]
  ): Tagged<V> {
    return (value === undefined ? { tag } : { tag, value }) as Tagged<V>;
  }
}

function lazily<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}

function membersOf(fields: Fields): Member[] {
  return Object.keys(fields).map(name => ({ name, type: fields[name]! }));
}

const simple =
  <T>(kind: SimpleKind) =>
  (): TypeBuilder<T> =>
    new TypeBuilder<T>({ kind });

const namedFields = <F>(first: string | F, second?: F): [string | undefined, F] =>
  typeof first === 'string' ? [first, second as F] : [undefined, first];

function makeObject<const F extends Fields>(name: string, fields: F): ObjectType<F>;
function makeObject<const F extends Fields>(fields: F): ObjectType<F>;
function makeObject(first: string | Fields, second?: Fields): ObjectType<Fields> {
  return new ObjectType(...namedFields(first, second));
}

type EnumOf<V extends Fields> = EnumType<V> & Makers<V, Tagged<V>>;
function makeEnum<const V extends Fields>(name: string, variants: V): EnumOf<V>;
function makeEnum<const N extends string>(name: string, variants: readonly N[]): EnumOf<UnitVariants<N>>;
function makeEnum(name: string, variants: Fields | readonly string[]): EnumType<Fields> {
  const fields = Array.isArray(variants)
    ? Object.fromEntries(variants.map(tag => [tag, t.unit()]))
    : (variants as Fields);
  return new EnumType(name, fields);
}

/** A type that is looked at later, so that it can mention itself. */
class LazyType<T> extends TypeBuilder<T> {
  constructor(private readonly make: () => TypeBuilder<T, any>) {
    super(undefined as unknown as Shape);
    let shape: Shape | undefined;
    Object.defineProperty(this, 'shape', { get: () => (shape ??= this.make().shape) });
  }
}

export const t = {
  bool: simple<boolean>('bool'),
  i8: simple<number>('i8'),
  u8: simple<number>('u8'),
  i16: simple<number>('i16'),
  u16: simple<number>('u16'),
  i32: simple<number>('i32'),
  u32: simple<number>('u32'),
  i64: simple<bigint>('i64'),
  u64: simple<bigint>('u64'),
  i128: simple<bigint>('i128'),
  u128: simple<bigint>('u128'),
  i256: simple<bigint>('i256'),
  u256: simple<bigint>('u256'),
  f32: simple<number>('f32'),
  f64: simple<number>('f64'),
  number: simple<number>('f64'),
  string: simple<string>('string'),
  byteArray: simple<Uint8Array>('bytes'),
  identity: simple<Identity>('identity'),
  connectionId: simple<ConnectionId>('connectionId'),
  timestamp: simple<Timestamp>('timestamp'),
  timeDuration: simple<TimeDuration>('timeDuration'),
  uuid: simple<Uuid>('uuid'),
  scheduleAt: simple<ScheduleAt>('scheduleAt'),
  unit: simple<Unit>('unit'),
  never: simple<never>('never'),
  array: <B extends AnyType>(element: B): TypeBuilder<Infer<B>[]> => new TypeBuilder({ kind: 'array', element }),
  option: <B extends AnyType>(element: B): TypeBuilder<Infer<B> | undefined> =>
    new TypeBuilder({ kind: 'option', element }),
  result: <A extends AnyType, B extends AnyType>(ok: A, err: B): TypeBuilder<Result<Infer<A>, Infer<B>>> =>
    new TypeBuilder({ kind: 'result', ok, err }),
  object: makeObject,
  /** The row of a view, whose columns may be marked as a table's. */
  row: makeObject,
  enum: makeEnum,
  lazy: <T>(make: () => TypeBuilder<T, any>): TypeBuilder<T> => new LazyType(make),
};
