// module.ts: what generated bindings are made of, and the types that an application sees because of them.
//
//   tables, reducers, procedures (a Module)  ──>  Db, Reducers, Procedures, Draft, EventContext
import type { Decoder, Encoder } from '../core/bytes.js';
import type { ConnectionId, Identity, Timestamp } from '../core/ids.js';
import type { TableDef } from './query.js';

// ---- what generated bindings are made of

export class ReducerDef<Args> {
  declare readonly args: Args;
  constructor(
    readonly name: string,
    readonly codec: Encoder<Args>
  ) {}
}
export class ProcedureDef<Args, Returns> {
  declare readonly args: Args;
  declare readonly returns: Returns;
  constructor(
    readonly name: string,
    readonly codec: Encoder<Args>,
    readonly result: Decoder<Returns>
  ) {}
}
export const reducer = <Args>(name: string, codec: Encoder<Args>): ReducerDef<Args> => new ReducerDef(name, codec);
export const procedure = <Args, Returns>(
  name: string,
  codec: Encoder<Args>,
  result: Decoder<Returns>
): ProcedureDef<Args, Returns> => new ProcedureDef(name, codec, result);

/** Tables or functions by name, those of a submodule in an object of their own. */
export interface Tree<Leaf> {
  readonly [name: string]: Leaf | Tree<Leaf>;
}
export interface Module {
  readonly tables: Tree<TableDef<any, any>>;
  readonly reducers: Tree<ReducerDef<any>>;
  readonly procedures: Tree<ProcedureDef<any, any>>;
}

// ---- types of what an application sees

export type Status = 'connecting' | 'live' | 'stale' | 'closed';

export type EventInfo =
  | { readonly tag: 'Reducer'; readonly value: { readonly name: string; readonly timestamp: Timestamp } }
  | { readonly tag: 'Transaction' }
  | { readonly tag: 'SubscribeApplied' }
  | { readonly tag: 'UnsubscribeApplied' }
  | { readonly tag: 'Reconnected' }
  | { readonly tag: 'Optimistic' };

export interface EventContext<M extends Module> {
  readonly db: Db<M['tables']>;
  readonly reducers: Reducers<M['reducers']>;
  readonly procedures: Procedures<M['procedures']>;
  readonly identity: Identity | undefined;
  readonly connectionId: ConnectionId | undefined;
  readonly isActive: boolean;
  readonly event: EventInfo;
}
export type ReducerEventContext<M extends Module> = EventContext<M>;
export interface SubscriptionEventContext<M extends Module> extends EventContext<M> {
  /** That an applied subscription ended without being asked to. */
  readonly error?: Error;
}
export interface ErrorContext<M extends Module> extends EventContext<M> {
  readonly error: Error;
}

type UniqueKeys<O> = O extends { unique: readonly (infer K)[] } ? K & string : never;
type PrimaryKey<O> = O extends { primaryKey: infer K } ? K & string : never;
type IndexMap<O> = O extends { indexes: infer I } ? I : {};

export interface UniqueAccess<Row, V> {
  find(value: V): Row | undefined;
}
export interface Bound<V> {
  readonly from?: V;
  readonly after?: V;
  readonly to?: V;
  readonly before?: V;
}
export interface IndexAccess<Row, V> {
  /** Rows whose columns have these values; of several columns the first ones will do. */
  filter(value: V): IterableIterator<Row>;
}
type ColumnValues<Row, C> = C extends readonly [infer K]
  ? K extends keyof Row
    ? Row[K] | Bound<Row[K]>
    : never
  : C extends readonly [infer K, ...infer Rest]
    ? K extends keyof Row
      ? Row[K] | readonly [Row[K], ...ValuesOf<Row, Rest>]
      : never
    : never;
type ValuesOf<Row, C> = C extends readonly [infer K, ...infer Rest]
  ? K extends keyof Row
    ? [Row[K]?, ...ValuesOf<Row, Rest>]
    : []
  : [];

export type RowCallback<Row> = (ctx: EventContext<any>, row: Row) => void;
export type UpdateCallback<Row> = (ctx: EventContext<any>, before: Row, now: Row) => void;

export interface TableBase<Row> extends Iterable<Row> {
  readonly tableName: string;
  count(): bigint;
  iter(): IterableIterator<Row>;
  onInsert(callback: RowCallback<Row>): () => void;
  onDelete(callback: RowCallback<Row>): () => void;
  /** A row with the same primary key in place of another. */
  onUpdate(callback: UpdateCallback<Row>): () => void;
  removeOnInsert(callback: RowCallback<Row>): void;
  removeOnDelete(callback: RowCallback<Row>): void;
  removeOnUpdate(callback: UpdateCallback<Row>): void;
}
export type TableHandle<Row, O> = TableBase<Row> & {
  readonly [K in UniqueKeys<O> | PrimaryKey<O>]: UniqueAccess<Row, K extends keyof Row ? Row[K] : never>;
} & {
  readonly [K in Exclude<keyof IndexMap<O>, UniqueKeys<O> | PrimaryKey<O>>]: IndexAccess<Row, ColumnValues<Row, IndexMap<O>[K]>>;
};
export type Db<T> = {
  readonly [K in keyof T]: T[K] extends TableDef<infer Row, infer O> ? TableHandle<Row, O> : Db<T[K]>;
};

/** The tables as an optimistic update may change them. */
export interface DraftTable<Row, Key> {
  insert(row: Row): void;
  /** By primary key. */
  update(row: Row): void;
  delete(row: Row): void;
  find(key: Key): Row | undefined;
  iter(): IterableIterator<Row>;
}
export type Draft<T> = {
  readonly [K in keyof T]: T[K] extends TableDef<infer Row, infer O>
    ? DraftTable<Row, PrimaryKey<O> extends keyof Row ? Row[PrimaryKey<O>] : Row>
    : Draft<T[K]>;
};

export interface CallOptions<T = any> {
  /**
   * What the call will probably do, shown until the server's answer takes its place: whatever it says,
   * a refusal undoes it. Runs again whenever the rows below it change, so it must only look at `draft`.
   */
  readonly optimistic?: (draft: Draft<T>) => void;
  /** It does no harm if it happens twice, so repeat it after a lost connection. */
  readonly idempotent?: boolean;
}
type Call<Args, T> = keyof Args extends never
  ? (args?: Record<string, never>, options?: CallOptions<T>) => Promise<void>
  : (args: Args, options?: CallOptions<T>) => Promise<void>;
export type Reducers<R, T = any> = {
  readonly [K in keyof R]: R[K] extends ReducerDef<infer Args> ? Call<Args, T> : Reducers<R[K], T>;
};
export type Procedures<P> = {
  readonly [K in keyof P]: P[K] extends ProcedureDef<infer Args, infer Returns>
    ? keyof Args extends never
      ? (args?: Record<string, never>) => Promise<Returns>
      : (args: Args) => Promise<Returns>
    : Procedures<P[K]>;
};
