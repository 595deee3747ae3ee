// lightcone/react: a connection for the page, and hooks that show it.
//
//   <LightconeProvider connectionBuilder={DbConnection.builder().withUri(…).withDatabaseName(…)}>
//     …
//     const [messages, ready] = useTable(tables.message.where(m => m.room.eq(room)));
//     const send = useReducer(reducers.sendMessage);
//
// ALWAYS TRUE
//   (1) A builder has one connection, however often React mounts, unmounts and renders twice; it ends a
//       moment after the last provider that uses it.
//   (2) A list of rows is the same object until one of its rows changes, and so is each row.
//   (3) On a server nothing connects: hooks show no rows, and are not ready.
'use client';
import {
  createContext,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
  type ReactNode,
} from 'react';
import type { ConnectionBuilder } from '../client/builder.js';
import type { Connection } from '../client/connection.js';
import { NotConnectedError } from '../client/errors.js';
import type { CallOptions, ProcedureDef, ReducerDef, Status } from '../client/module.js';
import type { Query } from '../client/query.js';
import type { ConnectionId, Identity } from '../core/ids.js';
import { LiveQuery, NOTHING, type RowCallbacks, type Snapshot } from './live.js';

type AnyConnection = Connection<any>;

// ---- one connection for a builder

const LINGER_MS = 1000;

interface Held {
  readonly connection: AnyConnection;
  users: number;
  ending: ReturnType<typeof setTimeout> | undefined;
}
const held = new WeakMap<ConnectionBuilder<any>, Held>();

function acquire(builder: ConnectionBuilder<any>): Held {
  let one = held.get(builder);
  if (!one) {
    one = { connection: builder.build(), users: 0, ending: undefined };
    held.set(builder, one);
  }
  clearTimeout(one.ending);
  one.users++;
  return one;
}

function release(builder: ConnectionBuilder<any>, one: Held): void {
  if (--one.users > 0) return;
  one.ending = setTimeout(() => {
    held.delete(builder);
    one.connection.disconnect();
  }, LINGER_MS);
}

const Context = createContext<AnyConnection | undefined>(undefined);

export type LightconeProviderProps = { readonly children?: ReactNode } & (
  | {
      /** Whose connection this is from now on; another one later is not looked at. */
      readonly connectionBuilder: ConnectionBuilder<any>;
      readonly connection?: undefined;
    }
  | {
      /** One that is made and ended elsewhere. */
      readonly connection: AnyConnection;
      readonly connectionBuilder?: undefined;
    }
);

export function LightconeProvider({ children, connectionBuilder, connection }: LightconeProviderProps): ReactNode {
  const [builder] = useState(connectionBuilder);
  const [made, setMade] = useState<AnyConnection | undefined>(undefined);
  useEffect(() => {
    if (!builder) return;
    const one = acquire(builder);
    setMade(one.connection);
    return () => release(builder, one);
  }, [builder]);
  return <Context.Provider value={connection ?? made}>{children}</Context.Provider>;
}

// ---- hooks

const never = () => () => {};

export interface ConnectionState<C extends AnyConnection = AnyConnection> {
  readonly status: Status;
  /** Connected, and what is shown is what the server has. */
  readonly isActive: boolean;
  readonly identity: Identity | undefined;
  readonly connectionId: ConnectionId | undefined;
  readonly token: string | undefined;
  readonly connectionError: Error | undefined;
  readonly connection: C | undefined;
  getConnection(): C | null;
}

/** How the connection is; renders again when that changes. */
export function useConnection<C extends AnyConnection = AnyConnection>(): ConnectionState<C> {
  const connection = useContext(Context) as C | undefined;
  const subscribe = useMemo(
    () => (connection ? (notify: () => void) => connection.onStatus(notify) : never),
    [connection]
  );
  const state = () => (connection ? `${connection.status} ${connection.error?.message ?? ''}` : 'connecting');
  const seen = useSyncExternalStore(subscribe, state, () => 'connecting');
  return useMemo(
    () => ({
      status: connection?.status ?? 'connecting',
      isActive: connection?.isActive ?? false,
      identity: connection?.identity,
      connectionId: connection?.connectionId,
      token: connection?.token,
      connectionError: connection?.error,
      connection,
      getConnection: () => connection ?? null,
    }),
    [connection, seen]
  );
}

export interface UseTableOptions<Row> extends RowCallbacks<Row> {
  /** false: ask for nothing and show nothing. */
  readonly enabled?: boolean;
}

/** What else there is to know about the rows. */
export interface RowsInfo {
  readonly isStale: boolean;
  readonly error: Error | undefined;
}

/**
 * The rows of a query, current as long as the component is there; and whether the first ones have
 * come. The subscription is shared with everybody on the page who asks for the same.
 */
export function useTable<Row>(
  query: Query<Row>,
  options: UseTableOptions<Row> = {}
): readonly [rows: readonly Row[], isReady: boolean, info: RowsInfo] {
  const connection = useContext(Context);
  const sql = query.toSql();
  const isEnabled = options.enabled !== false;
  const live = useMemo(
    () => (connection && isEnabled ? new LiveQuery(connection, query) : undefined),
    [connection, sql, isEnabled]
  );
  const callbacks = useRef(options);
  useEffect(() => {
    callbacks.current = options;
    if (live) live.callbacks = callbacks.current;
  });
  const nothing = () => NOTHING as Snapshot<Row>;
  const snapshot = useSyncExternalStore(live?.subscribe ?? never, live?.read ?? nothing, nothing);
  return useMemo(() => [snapshot.rows, snapshot.isReady, snapshot] as const, [snapshot]);
}

/** A function that calls a reducer: resolves when its effect is on disk and in the tables here. */
export function useReducer<Args>(
  def: ReducerDef<Args>
): keyof Args extends never
  ? (args?: Record<string, never>, options?: CallOptions) => Promise<void>
  : (args: Args, options?: CallOptions) => Promise<void> {
  const connection = useContext(Context);
  const call = useCallback(
    (args: Args = {} as Args, options?: CallOptions) =>
      connection ? connection.callReducer(def, args, options) : Promise.reject(notYet(def.name)),
    [connection, def]
  );
  return call as never;
}

/** A function that calls a procedure and gives what it returns. */
export function useProcedure<Args, Returns>(
  def: ProcedureDef<Args, Returns>
): keyof Args extends never
  ? (args?: Record<string, never>) => Promise<Returns>
  : (args: Args) => Promise<Returns> {
  const connection = useContext(Context);
  const call = useCallback(
    (args: Args = {} as Args) =>
      connection ? connection.callProcedure(def, args) : Promise.reject(notYet(def.name)),
    [connection, def]
  );
  return call as never;
}

function notYet(name: string): Error {
  return new NotConnectedError(`${name} was called outside of a LightconeProvider, or before it was mounted`);
}

// ---- names that existing code has

export {
  LightconeProvider as SpacetimeDBProvider,
  useConnection as useSpacetimeDB,
  useConnection as useLightcone,
};
export type { LightconeProviderProps as SpacetimeDBProviderProps };
