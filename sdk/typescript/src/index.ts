// lightcone: the client, for browsers, Node, Deno and Bun. Applications get it through their generated
// bindings (`lightcone generate --lang typescript`), which are made of what is exported here.
export { Reader, Writer, DecodeError, type Codec, type Decoder, type Encoder, type Result } from './core/bytes.js';
export { ConnectionId, Identity, ScheduleAt, TimeDuration, Timestamp, Uuid } from './core/ids.js';
export { t, TypeBuilder, type Infer, type Unit } from './core/types.js';
export { table, Query, TableDef, Predicate, Column, type TableOptions } from './client/query.js';
export { Connection, type Callbacks, type Config } from './client/connection.js';
export { ConnectionBuilder } from './client/builder.js';
export { SubscriptionBuilder, type SharedHandle, type SubscriptionHandle } from './client/subscription.js';
export {
  ProcedureDef,
  ReducerDef,
  procedure,
  reducer,
  type Bound,
  type CallOptions,
  type Db,
  type Draft,
  type ErrorContext,
  type EventContext,
  type EventInfo,
  type Module,
  type Procedures,
  type ReducerEventContext,
  type Reducers,
  type Status,
  type SubscriptionEventContext,
  type TableHandle,
} from './client/module.js';
export {
  ConnectionLostError,
  InternalError,
  NotConnectedError,
  SenderError,
  SubscriptionError,
} from './client/errors.js';
