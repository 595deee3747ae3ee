// lightcone/server: modules: tables, and the functions that run beside them inside the database.
//
//   import { schema, table, t } from 'lightcone/server';
//   const note = table({ name: 'note', public: true }, { id: t.u64().primaryKey().autoInc(), text: t.string() });
//   const db = schema({ note });
//   export default db;
//   export const write = db.reducer({ text: t.string() }, (ctx, { text }) => void ctx.db.note.insert({ id: 0n, text }));
import './console.js';

export { ConnectionId, Identity, ScheduleAt, TimeDuration, Timestamp, Uuid } from '../core/ids.js';
export { t, TypeBuilder, type Infer, type Unit } from '../core/types.js';
export type { Result } from '../core/bytes.js';
export {
  schema,
  Schema,
  type Db,
  type FunctionOptions,
  type ProcedureExport,
  type ReadonlyDb,
  type ReducerExport,
  type ViewOptions,
} from './schema.js';
export {
  Range,
  table,
  TableSpec,
  type IndexOptions,
  type RangeBound,
  type Table,
  type TableOptions,
} from './tables.js';
export {
  HandlerCtx,
  ProcedureCtx,
  ReducerCtx,
  type AnonymousViewCtx,
  type AuthCtx,
  type JwtClaims,
  type Random,
  type ViewCtx,
} from './context.js';
export { errors, SenderError, SpacetimeHostError } from './errors.js';
export { Headers, Request, Router, SyncResponse, type FetchOptions } from './http.js';
