// subscription.ts: what somebody asked to have here: by a builder, by a handle, or shared by many.
import type { Connection } from './connection.js';
import { guard, isTable, mapTree } from './handles.js';
import type { ErrorContext, Module, SubscriptionEventContext } from './module.js';
import type { Query, TableDef } from './query.js';

export type QueryLike = string | Query<any>;

export class Subscription {
  set = 0;
  state: 'waiting' | 'active' | 'ending' | 'ended' = 'waiting';
  wasApplied = false;
  onEnd: (() => void) | undefined;
  constructor(
    readonly queries: readonly string[],
    readonly onApplied: () => void,
    readonly onError: (error: Error) => void
  ) {}
}

export interface SubscriptionHandle {
  /** Its rows are here. */
  isActive(): boolean;
  isEnded(): boolean;
  unsubscribe(): void;
  unsubscribeThen(onEnd: () => void): void;
}

export class SubscriptionBuilder<M extends Module> {
  private applied: (ctx: SubscriptionEventContext<M>) => void = () => {};
  private failed: (ctx: ErrorContext<M>, error: Error) => void = () => {};
  constructor(private readonly connection: Connection<M>) {}
  onApplied(callback: (ctx: SubscriptionEventContext<M>) => void): this {
    this.applied = callback;
    return this;
  }
  onError(callback: (ctx: ErrorContext<M>, error: Error) => void): this {
    this.failed = callback;
    return this;
  }
  subscribe(
    queries: QueryLike | readonly QueryLike[] | ((tables: M['tables']) => QueryLike | readonly QueryLike[])
  ): SubscriptionHandle {
    const { connection } = this;
    const given = typeof queries === 'function' ? queries(connection.module.tables) : queries;
    return connection.subscribe(Array.isArray(given) ? given : [given as QueryLike], {
      onApplied: () => this.applied(connection.context({ tag: 'SubscribeApplied' })),
      onError: error =>
        this.failed({ ...connection.context({ tag: 'SubscribeApplied' }), error }, error),
    });
  }
  /** Every public table. */
  subscribeToAllTables(): SubscriptionHandle {
    const queries: Query<any>[] = [];
    mapTree(this.connection.module.tables, isTable, (def: TableDef<any, any>) => queries.push(def));
    return this.subscribe(queries);
  }
}

// ---- subscriptions that several share

export interface SharedHandle {
  readonly isReady: () => boolean;
  readonly error: () => Error | undefined;
  leave(): void;
}

const LINGER_MS = 1000;

export class SharedQuery {
  private readonly listeners = new Set<() => void>();
  private readonly handle: SubscriptionHandle;
  private isReady = false;
  private error: Error | undefined;
  private leaving: ReturnType<typeof setTimeout> | undefined;
  constructor(
    connection: Connection<any>,
    sql: string,
    private readonly forget: () => void
  ) {
    this.handle = connection.subscribe([sql], {
      onApplied: () => {
        this.isReady = true;
        this.tell();
      },
      onError: error => {
        this.error = error;
        this.tell();
      },
    });
  }
  private tell(): void {
    for (const each of [...this.listeners]) guard(each);
  }
  join(listener: () => void): SharedHandle {
    clearTimeout(this.leaving);
    const mine = () => listener(); // the same function may be given twice
    this.listeners.add(mine);
    return {
      isReady: () => this.isReady,
      error: () => this.error,
      leave: () => this.leave(mine),
    };
  }
  private leave(listener: () => void): void {
    if (!this.listeners.delete(listener) || this.listeners.size > 0) return;
    this.leaving = setTimeout(() => {
      this.forget();
      this.handle.unsubscribe();
    }, LINGER_MS);
    (this.leaving as unknown as { unref?: () => void }).unref?.();
  }
}
