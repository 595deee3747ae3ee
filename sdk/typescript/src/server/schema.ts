// schema.ts: a module: tables put together, and the functions that use them.
//
// PICTURE
//   const db = schema({ player, lib })          what there is
//   export default db;                          the database asks it for its hooks
//   export const join = db.reducer(…)           an Exported: gets its name from the export, when asked
//        │ db[moduleHooks](exports)
//        ▼
//   Definition ── describe.ts ──> bytes         and hooks.ts: a list of functions by number
//
// ALWAYS TRUE  Numbers of functions and what the definition says of them come from the same lists: a module's own
// first, in the order of its exports' names, then those of each submodule.
import type { AnyType, Fields, Infer, InferFields } from '../core/types.js';
import { ObjectType } from '../core/types.js';
import { table as remoteTable, type Query, type TableDef } from '../client/query.js';
import { moduleHooks } from 'spacetime:sys@2.0';
import type { AnonymousViewCtx, HandlerCtx, ProcedureCtx, ReducerCtx, ViewCtx } from './context.js';
import { hooksOf } from './hooks.js';
import { Router, type Request, type Route, type SyncResponse } from './http.js';
import { columnName, tableAccess, TableSpec, type ReadonlyTableOf, type TableOf } from './tables.js';

// ---- what a definition is made of

export const enum Lifecycle {
  Init,
  Connected,
  Disconnected,
}

type AnyFunction = (...args: any[]) => any;

export interface FunctionSpec {
  readonly name: string; // of the export
  readonly explicitName: string | undefined;
  readonly params: Fields;
  readonly returns: AnyType | undefined;
  readonly lifecycle: Lifecycle | undefined;
  readonly run: AnyFunction;
}
export interface ViewSpec extends FunctionSpec {
  readonly index: number;
  readonly isPublic: boolean;
  readonly isAnonymous: boolean;
}

/** A schema and the functions that were exported beside it. */
export interface Definition {
  readonly schema: Schema<any>;
  readonly prefix: string;
  readonly tables: readonly { readonly source: string; readonly spec: TableSpec }[];
  readonly reducers: readonly FunctionSpec[];
  readonly procedures: readonly FunctionSpec[];
  readonly views: readonly ViewSpec[];
  readonly handlers: readonly FunctionSpec[];
  readonly rules: readonly string[];
  readonly routes: readonly Route[];
  readonly submodules: readonly { readonly namespace: string; readonly definition: Definition }[];
  nameOf(exported: unknown, what: string): string;
}

type Kind = 'reducer' | 'procedure' | 'view' | 'anonymousView' | 'handler' | 'router' | 'rule';

/** What schema methods give: export it, and its name is what you export it as. */
export class Exported<K extends Kind = Kind> {
  constructor(
    readonly kind: K,
    readonly owner: Schema<any>,
    readonly options: {
      readonly name?: string | undefined;
      readonly isPublic?: boolean;
      readonly params?: Fields;
      readonly returns?: AnyType;
      readonly lifecycle?: Lifecycle;
      readonly run?: AnyFunction;
      readonly router?: Router;
      readonly sql?: string;
    }
  ) {}
}
export type ReducerExport = Exported<'reducer'>;
export type ProcedureExport = Exported<'procedure'>;

// ---- types of tables by name

type Submodule = { readonly default: Schema<any> };
export type Parts = Readonly<Record<string, TableSpec<any, any> | Submodule | Schema<any>>>;
type PartsOf<M> = M extends Schema<infer P> ? P : M extends { default: Schema<infer P> } ? P : never;
export type Db<P> = {
  readonly [K in keyof P]: P[K] extends TableSpec<infer F, infer O> ? TableOf<F, O> : Db<PartsOf<P[K]>>;
};
export type ReadonlyDb<P> = {
  readonly [K in keyof P]: P[K] extends TableSpec<infer F, infer O> ? ReadonlyTableOf<F, O> : ReadonlyDb<PartsOf<P[K]>>;
};
export type From<P> = {
  readonly [K in keyof P]: P[K] extends TableSpec<infer F, any> ? TableDef<InferFields<F>> : From<PartsOf<P[K]>>;
};

type Params = Fields | ObjectType<any>;
type Args<P> = P extends ObjectType<infer F> ? InferFields<F> : InferFields<P>;
type Reducer<S, A> = (ctx: ReducerCtx<Db<S>>, args: A) => void;
type Procedure<S, A, R> = (ctx: ProcedureCtx<Db<S>>, args: A) => R;
type ViewResult<R extends AnyType> =
  | Infer<R>
  | (Infer<R> extends readonly (infer Row)[] ? Query<Row> : NonNullable<Infer<R>> extends infer Row ? Query<Row> | null : never);

export interface FunctionOptions {
  /** What clients call it; the export's name otherwise. */
  readonly name: string;
}
export interface ViewOptions {
  readonly name?: string;
  readonly public?: boolean;
}

const fieldsOf = (params: Params): Fields => (params instanceof ObjectType ? params.fields : params);
const isOptions = (value: unknown): value is FunctionOptions =>
  typeof value === 'object' && value !== null && typeof (value as { name?: unknown }).name === 'string' && !(value instanceof ObjectType);

// ---- the schema

export class Schema<S extends Parts> {
  constructor(readonly parts: S) {}

  // [options,] [params,] [returns,] function
  private functionOf(kind: Kind, given: unknown[], returns: boolean): Exported<any> {
    const rest = [...given];
    const run = rest.pop() as AnyFunction;
    const result = returns ? (rest.pop() as AnyType) : undefined;
    const options = isOptions(rest[0]) ? (rest.shift() as FunctionOptions) : undefined;
    const params = rest.length > 0 ? fieldsOf(rest[0] as Params) : {};
    return new Exported(kind, this, { name: options?.name, params, run, ...(result && { returns: result }) });
  }

  /** A function that is one transaction. */
  reducer(run: Reducer<S, {}>): ReducerExport;
  reducer<const P extends Params>(params: P, run: Reducer<S, Args<P>>): ReducerExport;
  reducer(options: FunctionOptions, run: Reducer<S, {}>): ReducerExport;
  reducer<const P extends Params>(options: FunctionOptions, params: P, run: Reducer<S, Args<P>>): ReducerExport;
  reducer(...given: unknown[]): ReducerExport {
    return this.functionOf('reducer', given, false);
  }

  private lifecycle(lifecycle: Lifecycle, given: unknown[]): ReducerExport {
    const { options } = this.functionOf('reducer', given, false);
    return new Exported('reducer', this, { ...options, lifecycle });
  }
  /** Once, when the database is made or emptied. */
  init(run: Reducer<S, {}>): ReducerExport;
  init(options: FunctionOptions, run: Reducer<S, {}>): ReducerExport;
  init(...given: unknown[]): ReducerExport {
    return this.lifecycle(Lifecycle.Init, given);
  }
  /** May throw: the client is turned away. */
  clientConnected(run: Reducer<S, {}>): ReducerExport;
  clientConnected(options: FunctionOptions, run: Reducer<S, {}>): ReducerExport;
  clientConnected(...given: unknown[]): ReducerExport {
    return this.lifecycle(Lifecycle.Connected, given);
  }
  /** Also after a crash of the server. */
  clientDisconnected(run: Reducer<S, {}>): ReducerExport;
  clientDisconnected(options: FunctionOptions, run: Reducer<S, {}>): ReducerExport;
  clientDisconnected(...given: unknown[]): ReducerExport {
    return this.lifecycle(Lifecycle.Disconnected, given);
  }

  /** A function that returns something, waits for the world, and makes transactions of its own. */
  procedure<R extends AnyType>(returns: R, run: Procedure<S, {}, Infer<R>>): ProcedureExport;
  procedure<const P extends Params, R extends AnyType>(params: P, returns: R, run: Procedure<S, Args<P>, Infer<R>>): ProcedureExport;
  procedure<R extends AnyType>(options: FunctionOptions, returns: R, run: Procedure<S, {}, Infer<R>>): ProcedureExport;
  procedure<const P extends Params, R extends AnyType>(
    options: FunctionOptions, params: P, returns: R, run: Procedure<S, Args<P>, Infer<R>>
  ): ProcedureExport;
  procedure(...given: unknown[]): ProcedureExport {
    return this.functionOf('procedure', given, true);
  }

  /** Rows that are computed, for each caller their own; a query in place of rows will do. */
  view<R extends AnyType>(
    options: ViewOptions, returns: R, run: (ctx: ViewCtx<ReadonlyDb<S>, From<S>>) => ViewResult<R>
  ): Exported<'view'> {
    return new Exported('view', this, { name: options.name, isPublic: options.public === true, params: {}, returns, run });
  }
  /** The same for everybody. */
  anonymousView<R extends AnyType>(
    options: ViewOptions, returns: R, run: (ctx: AnonymousViewCtx<ReadonlyDb<S>, From<S>>) => ViewResult<R>
  ): Exported<'anonymousView'> {
    return new Exported('anonymousView', this, { name: options.name, isPublic: options.public === true, params: {}, returns, run });
  }

  /** Answers HTTP requests; say which in httpRouter. */
  httpHandler(run: (ctx: HandlerCtx<Db<S>>, request: Request) => SyncResponse): Exported<'handler'>;
  httpHandler(
    options: FunctionOptions, run: (ctx: HandlerCtx<Db<S>>, request: Request) => SyncResponse
  ): Exported<'handler'>;
  httpHandler(...given: unknown[]): Exported<'handler'> {
    return this.functionOf('handler', given, false);
  }
  httpRouter(router: Router): Exported<'router'> {
    return new Exported('router', this, { router });
  }

  /** Which rows everybody but the database's owner may see. */
  readonly clientVisibilityFilter = {
    sql: (sql: string): Exported<'rule'> => new Exported('rule', this, { sql }),
  };
}

// Not a member of the class, so that its declaration does not mention what only the host has.
Object.defineProperty(Schema.prototype, moduleHooks, {
  value(this: Schema<any>, exports: Readonly<Record<string, unknown>>): object {
    return hooksOf(define(this, exports, ''));
  },
});

export function schema<const S extends Parts>(parts: S): Schema<S> {
  return new Schema(parts);
}

// ---- from exports to a definition

const submoduleOf = (part: unknown): [Schema<any>, Readonly<Record<string, unknown>>] | undefined => {
  if (part instanceof Schema) return [part, {}];
  const schema = (part as Partial<Submodule> | undefined)?.default;
  return schema instanceof Schema ? [schema, part as Record<string, unknown>] : undefined;
};

function define(schema: Schema<any>, exports: Readonly<Record<string, unknown>>, prefix: string): Definition {
  const names = new Map<unknown, string>();
  const mine: [string, Exported][] = [];
  for (const [name, value] of Object.entries(exports)) {
    if (!(value instanceof Exported) || value.owner !== schema || names.has(value)) continue;
    names.set(value, name);
    mine.push([name, value]);
  }
  const spec = (name: string, { options }: Exported): FunctionSpec => ({
    name,
    explicitName: options.name,
    params: options.params ?? {},
    returns: options.returns,
    lifecycle: options.lifecycle,
    run: options.run!,
  });
  const of = (kind: Kind) => mine.filter(([, exported]) => exported.kind === kind);
  const views = (kind: 'view' | 'anonymousView'): ViewSpec[] =>
    of(kind).map(([name, exported], index) => ({
      ...spec(name, exported),
      index,
      isPublic: exported.options.isPublic === true,
      isAnonymous: kind === 'anonymousView',
    }));
  const tables: Definition['tables'][number][] = [];
  const submodules: Definition['submodules'][number][] = [];
  for (const [source, part] of Object.entries(schema.parts as Parts)) {
    const inner = submoduleOf(part);
    if (inner) submodules.push({ namespace: source, definition: define(inner[0], inner[1], `${prefix}${source}.`) });
    else if (part instanceof TableSpec) tables.push({ source, spec: part });
    else throw new TypeError(`${source} in schema({ … }) is neither a table nor a module`);
  }
  for (const { source, spec } of tables) {
    const shape = spec.rowType.shape;
    if (shape.kind === 'product') shape.name ??= source;
  }
  return {
    schema,
    prefix,
    tables,
    submodules,
    reducers: of('reducer').map(([name, exported]) => spec(name, exported)),
    procedures: of('procedure').map(([name, exported]) => spec(name, exported)),
    views: [...views('view'), ...views('anonymousView')],
    handlers: of('handler').map(([name, exported]) => spec(name, exported)),
    rules: of('rule').map(([, exported]) => exported.options.sql!),
    routes: of('router').flatMap(([, exported]) => exported.options.router!.routes),
    nameOf: (exported, what) => {
      const name = names.get(exported);
      if (name === undefined) throw new TypeError(`${what} is not exported by the module`);
      return name;
    },
  };
}

// ---- what functions of a definition see

export function dbOf({ tables, submodules, prefix }: Definition): object {
  const db: Record<string, object> = {};
  for (const { source, spec } of tables) db[source] = tableAccess(prefix, source, spec);
  for (const { namespace, definition } of submodules) db[namespace] = dbOf(definition);
  return Object.freeze(db);
}

export function fromOf({ tables, submodules, prefix }: Definition): object {
  const from: Record<string, object> = {};
  for (const { source, spec } of tables) {
    const columns = Object.fromEntries(Object.keys(spec.columns).map(key => [key, columnName(spec.columns, key)]));
    from[source] = remoteTable(prefix + source, spec.rowType.codec as never, { columns });
  }
  for (const { namespace, definition } of submodules) from[namespace] = fromOf(definition);
  return Object.freeze(from);
}
