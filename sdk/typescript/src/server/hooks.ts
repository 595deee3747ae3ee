// hooks.ts: what the database calls: each function by its number, bytes in, bytes out.
import { Reader, Writer, type Codec } from '../core/bytes.js';
import { ObjectType } from '../core/types.js';
import { Query } from '../client/query.js';
import { HandlerCtx, identityOf, ProcedureCtx, ReducerCtx } from './context.js';
import { describe } from './describe.js';
import { errorClass, SenderError } from './errors.js';
import { readRequest, responseBytes, SyncResponse } from './http.js';
import { dbOf, fromOf, type Definition, type FunctionSpec } from './schema.js';

interface Callable {
  readonly spec: FunctionSpec;
  readonly args: Codec<any>;
  readonly result: Codec<any> | undefined;
  readonly db: any;
  readonly from: any;
}

interface Callables {
  readonly reducers: Callable[];
  readonly procedures: Callable[];
  readonly views: Callable[];
  readonly anonymousViews: Callable[];
  readonly handlers: Callable[];
}

// A module's own functions first, then those of each module in it, as deep as it goes.
function collect(definition: Definition, into: Callables): Callables {
  const db = dbOf(definition);
  const from = fromOf(definition);
  const callable = (spec: FunctionSpec): Callable => ({
    spec,
    args: new ObjectType(spec.name, spec.params).codec,
    result: spec.returns?.codec,
    db,
    from,
  });
  into.reducers.push(...definition.reducers.map(callable));
  into.procedures.push(...definition.procedures.map(callable));
  for (const view of definition.views) (view.isAnonymous ? into.anonymousViews : into.views).push(callable(view));
  into.handlers.push(...definition.handlers.map(callable));
  for (const { definition: inner } of definition.submodules) collect(inner, into);
  return into;
}

/** Frames below this one are not shown in the log. */
function __spacetimedb_end_short_backtrace<T>(run: (ctx: any, given?: any) => T, ctx: unknown, given?: unknown): T {
  return run(ctx, given);
}

const ROWS = 0;
const SQL = 1;

function viewBytes(result: unknown, { spec, result: codec }: Callable): { data: Uint8Array } {
  const w = new Writer();
  if (result instanceof Query) {
    w.u8(SQL);
    w.string(result.toSql());
  } else if (spec.returns!.shape.kind === 'option') {
    const { element } = spec.returns!.shape;
    w.u8(ROWS);
    w.array(result === undefined || result === null ? [] : [result], (w, row) => element.codec.write(w, row));
  } else {
    w.u8(ROWS);
    codec!.write(w, Array.isArray(result) ? result : Array.from(result as Iterable<unknown>));
  }
  return { data: w.finish() };
}

export function hooksOf(definition: Definition): object {
  const all = collect(definition, { reducers: [], procedures: [], views: [], anonymousViews: [], handlers: [] });
  // The database hands in the same view again and again, or at least another one of the same buffer. To ask a
  // view for its buffer costs as much as to decode three numbers.
  let argsView: ArrayBufferView | undefined;
  let argsReader = new Reader(new Uint8Array(0));
  let argsFrom = 0;

  const lookAt = (view: ArrayBufferView): void => {
    if (view.buffer !== argsReader.data.buffer) argsReader = new Reader(new Uint8Array(view.buffer));
    argsView = view;
    argsFrom = view.byteOffset;
    argsReader.end = argsFrom + view.byteLength;
  };
  const readerOf = (view: ArrayBufferView): Reader => {
    if (view !== argsView) lookAt(view);
    argsReader.at = argsFrom;
    return argsReader;
  };

  return {
    __sender_error_class__: SenderError,
    __get_error_constructor__: errorClass,
    __describe_module__: () => describe(definition),

    __call_reducer__(id: number, who: bigint, link: bigint, at: bigint, view: DataView): void {
      const { spec, args, db } = all.reducers[id]!;
      const given = args.read(readerOf(view));
      const ctx = new ReducerCtx(who, link, at, db);
      const result: unknown = __spacetimedb_end_short_backtrace(spec.run, ctx, given);
      if (typeof (result as PromiseLike<unknown> | undefined)?.then === 'function')
        throw new TypeError(`${spec.name} is async: a transaction cannot wait. Use a procedure.`);
    },

    __call_view__(id: number, who: bigint): { data: Uint8Array } {
      const view = all.views[id]!;
      const ctx = { sender: identityOf(who), db: view.db, from: view.from };
      return viewBytes(__spacetimedb_end_short_backtrace(view.spec.run, ctx), view);
    },

    __call_view_anon__(id: number): { data: Uint8Array } {
      const view = all.anonymousViews[id]!;
      const ctx = { db: view.db, from: view.from };
      return viewBytes(__spacetimedb_end_short_backtrace(view.spec.run, ctx), view);
    },

    __call_procedure__(id: number, who: bigint, link: bigint, at: bigint, view: Uint8Array): Uint8Array {
      const { spec, args, result, db } = all.procedures[id]!;
      const given = args.read(new Reader(view));
      const ctx = new ProcedureCtx(who, link, at, db);
      const value: unknown = __spacetimedb_end_short_backtrace(spec.run, ctx, given);
      const w = new Writer();
      result!.write(w, value);
      return w.finish();
    },

    __call_http_handler__(id: number, at: bigint, request: Uint8Array, body: Uint8Array): [Uint8Array, Uint8Array] {
      const { spec, db } = all.handlers[id]!;
      const asked = readRequest(request, body);
      const ctx = new HandlerCtx(at, db);
      const answer: unknown = __spacetimedb_end_short_backtrace(spec.run, ctx, asked);
      if (!(answer instanceof SyncResponse)) throw new TypeError(`${spec.name} returned no SyncResponse`);
      return responseBytes(answer);
    },
  };
}
