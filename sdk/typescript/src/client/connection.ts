// connection.ts: what an application holds: a database's tables, functions and subscriptions, live.
//
// PICTURE
//   link.ts ── messages ──> Connection ── rows ──> store.ts, one a table ── changes ──> listeners
//      ^                        │
//      └── calls, subscriptions ┘  (written into one buffer, sent at the end of the task)
//
// The life of a connection, as `status` tells it:
//
//   connecting ──> live ──> stale ──> live …            disconnect(), or refused ──> closed
//
// stale: the connection was lost. Everything that was there is still there and can be read. Once
// connected again, each subscription is asked for again; when the last has been answered, old and new
// state are compared and the difference is told as one change. Then it is live.
//
// ALWAYS TRUE
//   (1) One message of the server is one change: listeners run after all tables have it.
//   (2) A call's own rows are in the tables, and its guess (optimistic) is gone, before its promise resolves.
//   (3) A call is sent twice only if the server can tell (CallOnce) or the caller said that it is
//       idempotent. Otherwise, lost after sending, it rejects with ConnectionLostError.
import { Reader, Writer } from '../core/bytes.js';
import type { ConnectionId, Identity } from '../core/ids.js';
import { randomFill } from '../core/random.js';
import { ConnectionLostError, InternalError, NotConnectedError, SenderError, SubscriptionError } from './errors.js';
import { draftTable, guard, isTable, mapTree, tableHandle } from './handles.js';
import { Link } from './link.js';
import {
  ProcedureDef,
  ReducerDef,
  type CallOptions,
  type Db,
  type Draft,
  type EventContext,
  type EventInfo,
  type Module,
  type Procedures,
  type Reducers,
  type Status,
} from './module.js';
import * as protocol from './protocol.js';
import { abilitiesOf, Outcome, Server, type Abilities, type Point } from './protocol.js';
import type { Query, TableDef, TableOptions } from './query.js';
import { readRows, Store, type Change } from './store.js';
import {
  SharedQuery,
  Subscription,
  SubscriptionBuilder,
  type QueryLike,
  type SharedHandle,
  type SubscriptionHandle,
} from './subscription.js';

const BATCH_BYTES = 256 * 1024;
const REPEAT_FOR_MS = 5 * 60_000; // the server forgets calls after ten minutes

// ---- calls

interface Pending {
  readonly kind: 'reducer' | 'procedure' | 'query';
  readonly name: string;
  readonly args: Uint8Array;
  readonly number: bigint; // of reducers
  readonly bornAt: number;
  readonly isIdempotent: boolean;
  readonly optimistic: ((draft: any) => void) | undefined;
  isSent: boolean;
  resolve(value: any): void;
  reject(error: Error): void;
  readonly result?: (r: Reader) => unknown;
}

// ---- the connection

export interface Config {
  readonly uri: string | URL;
  readonly databaseName: string;
  readonly token?: string | undefined;
  readonly compression?: 'none' | 'gzip';
  readonly confirmedReads?: boolean | undefined;
}
export interface Callbacks {
  onConnect(identity: Identity, token: string): void;
  onReconnect(): void;
  onDisconnect(error: Error | undefined): void;
  onConnectError(error: Error): void;
}

function serverUri(uri: string | URL): URL {
  const url = new URL(uri);
  url.protocol = url.protocol.replace(/^http/, 'ws');
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}

export class Connection<M extends Module = Module> {
  readonly db: Db<M['tables']>;
  readonly reducers: Reducers<M['reducers'], M['tables']>;
  readonly procedures: Procedures<M['procedures']>;
  identity: Identity | undefined;
  connectionId: ConnectionId | undefined;
  /** Keep it: whoever connects with it is the same somebody again. */
  token: string | undefined;
  status: Status = 'connecting';
  /** What is spoken with the server; undefined while there is no connection. */
  protocol: string | undefined;
  /** Why the last connection or try ended; gone once live. */
  error: Error | undefined;

  private readonly stores = new Map<string, Store>();
  private readonly link: Link;
  private readonly out = new Writer(1024);
  private isFlushing = false;
  private abilities: Abilities | undefined; // of the connection that is up
  private isGreeted = false; // it has sent its first message
  private hasConnected = false;
  private knowsCalls = false; // the server, the last time that it was there
  private request = 0;
  private callNumber = 0n;
  private readonly session = new Uint8Array(16);
  private readonly pending = new Map<number, Pending>();
  private subscriptions = new Map<number, Subscription>();
  private refilling: Set<number> | undefined; // sets whose answer the comparison waits for
  private resuming: number | undefined;
  private point: Point | undefined;
  // Of the change that is being made:
  private readonly changedStores = new Set<Store>();
  private eventRows: [Store, any[]][] = [];
  private readonly guessing = new Set<Store>(); // that show guesses, also between changes
  private guessTree: Draft<M['tables']> | undefined; // made when the first guess is
  private readonly statusListeners = new Set<(status: Status) => void>();
  private event: EventInfo = { tag: 'Transaction' };
  private readonly shared = new Map<string, SharedQuery>();

  constructor(
    readonly module: M,
    config: Config,
    private readonly callbacks: Callbacks
  ) {
    this.token = config.token;
    randomFill(this.session);
    const writer = new Writer();
    this.db = mapTree(module.tables, isTable, (def: TableDef<any, TableOptions>) => {
      const store = new Store(def, row => {
        def.codec.write(writer.clear(), row);
        return writer.written();
      });
      this.stores.set(def.name, store);
      return tableHandle(store, () => this.context(this.event));
    });
    this.reducers = mapTree(
      module.reducers,
      value => value instanceof ReducerDef,
      (def: ReducerDef<any>) => (args: any, options?: CallOptions) => this.callReducer(def, args ?? {}, options)
    );
    this.procedures = mapTree(
      module.procedures,
      value => value instanceof ProcedureDef,
      (def: ProcedureDef<any, any>) => (args: any) => this.callProcedure(def, args ?? {})
    );
    const { uri, databaseName: database, compression = 'gzip', confirmedReads: confirmed } = config;
    const canUnpack = typeof DecompressionStream === 'function';
    this.link = new Link(
      {
        uri: serverUri(uri),
        database,
        compression: canUnpack ? compression : 'none',
        confirmed,
        token: () => this.token,
      },
      {
        onOpen: protocol => {
          this.protocol = protocol;
          this.abilities = abilitiesOf(protocol);
        },
        onMessage: data => this.onMessage(data),
        onDown: (error, retryMs) => this.onDown(error, retryMs),
        probe: () => this.probe(),
      }
    );
    this.link.start();
  }

  // ---- state

  /** Connected, and what the tables show is what the server has. */
  get isActive(): boolean {
    return this.status === 'live';
  }
  onStatus(listener: (status: Status) => void): () => void {
    this.statusListeners.add(listener);
    return () => void this.statusListeners.delete(listener);
  }
  private setStatus(status: Status): void {
    if (status === this.status) return;
    this.status = status;
    for (const each of this.statusListeners) guard(() => each(status));
  }
  context(event: EventInfo): EventContext<M> {
    const { db, reducers, procedures, identity, connectionId, isActive } = this;
    return { db, reducers: reducers as Reducers<M['reducers']>, procedures, identity, connectionId, isActive, event };
  }
  store(table: string): Store {
    const store = this.stores.get(table);
    if (!store) throw new Error(`The bindings do not know the table ${table}; generate them again`);
    return store;
  }
  disconnect(): void {
    this.link.end();
  }

  // ---- sending

  private get isUp(): boolean {
    return this.isGreeted;
  }
  private nextRequest(): number {
    this.request = (this.request + 1) >>> 0;
    return this.request;
  }
  // One payload for all that one task asks for; where a payload is one message, one each.
  private sending(write: (w: Writer) => void): void {
    write(this.out);
    if (!this.abilities!.batches || this.out.at > BATCH_BYTES) return this.flush();
    if (this.isFlushing) return;
    this.isFlushing = true;
    queueMicrotask(() => {
      this.isFlushing = false;
      this.flush();
    });
  }
  private flush(): void {
    if (this.out.at === 0) return;
    this.link.send(this.out.finish());
    this.out.clear();
  }
  // Ending a set that was never begun changes nothing and is answered.
  private probe(): void {
    if (this.isUp) this.sending(w => protocol.writeUnsubscribe(w, 0, 0xffffffff));
  }

  // ---- calling

  private add(pending: Pending): number {
    const request = this.nextRequest();
    this.pending.set(request, pending);
    if (this.isUp) this.send(request, pending);
    return request;
  }
  private send(request: number, pending: Pending): void {
    const { kind, name, args } = pending;
    pending.isSent = true;
    this.sending(w => {
      if (kind === 'procedure') protocol.writeProcedure(w, request, name, args);
      else if (kind === 'query') protocol.writeOneOff(w, request, name);
      else if (this.abilities!.extended) protocol.writeReducerOnce(w, request, this.once(pending), name, args);
      else protocol.writeReducer(w, request, name, args);
    });
  }
  private once({ number }: Pending): protocol.Once {
    let settled = number;
    for (const other of this.pending.values())
      if (other.kind === 'reducer') {
        if (other.number < settled) settled = other.number;
        break; // they are in the order in which they were made
      }
    return { session: new Reader(this.session).u128(), number, settled };
  }
  private closedError(): Error | undefined {
    return this.status === 'closed' ? (this.error ?? new NotConnectedError('The connection is closed')) : undefined;
  }
  callReducer<Args>(def: ReducerDef<Args>, args: Args, options: CallOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      const closed = this.closedError();
      if (closed) return reject(closed);
      const w = new Writer();
      def.codec.write(w, args);
      this.add({
        kind: 'reducer',
        name: def.name,
        args: w.written(),
        number: ++this.callNumber,
        bornAt: Date.now(),
        isIdempotent: options.idempotent === true,
        optimistic: options.optimistic,
        isSent: false,
        resolve,
        reject,
      });
      if (options.optimistic) this.change({ tag: 'Optimistic' }, () => {});
    });
  }
  callProcedure<Args, Returns>(def: ProcedureDef<Args, Returns>, args: Args): Promise<Returns> {
    const w = new Writer();
    return this.ask<Returns>('procedure', def.name, () => {
      def.codec.write(w, args);
      return w.written();
    }, r => def.result.read(r));
  }
  /** Asks once, outside of any subscription: rows of the table that the query is about. */
  query<Row>(query: Query<Row>): Promise<Row[]>;
  query(query: string): Promise<any[]>;
  query(query: QueryLike): Promise<any[]> {
    return this.ask<any[]>('query', String(query), () => new Uint8Array(0), r => this.readOneOff(r));
  }
  private ask<T>(kind: 'procedure' | 'query', name: string, args: () => Uint8Array, result: (r: Reader) => unknown) {
    return new Promise<T>((resolve, reject) => {
      const closed = this.closedError();
      if (closed) return reject(closed);
      this.add({
        kind, name, args: args(), number: 0n, bornAt: Date.now(), isIdempotent: kind === 'query',
        optimistic: undefined, isSent: false, resolve, reject, result,
      });
    });
  }

  // ---- subscribing

  subscriptionBuilder(): SubscriptionBuilder<M> {
    return new SubscriptionBuilder(this);
  }
  subscribe(
    queries: readonly QueryLike[],
    { onApplied = () => {}, onError = () => {} }: { onApplied?: () => void; onError?: (error: Error) => void } = {}
  ): SubscriptionHandle {
    const subscription = new Subscription(queries.map(String), onApplied, onError);
    subscription.set = this.nextRequest();
    this.subscriptions.set(subscription.set, subscription);
    if (this.isUp && this.resuming === undefined) {
      // While a lost connection is made up for, it is part of what the comparison waits for; while it is
      // resumed, it is asked for afterwards.
      this.refilling?.add(subscription.set);
      this.sending(w => protocol.writeSubscribe(w, this.nextRequest(), subscription.set, subscription.queries));
    }
    return {
      isActive: () => subscription.state === 'active',
      isEnded: () => subscription.state === 'ended',
      unsubscribe: () => this.unsubscribe(subscription),
      unsubscribeThen: onEnd => {
        subscription.onEnd = onEnd;
        this.unsubscribe(subscription);
      },
    };
  }
  private unsubscribe(subscription: Subscription): void {
    if (subscription.state === 'ending' || subscription.state === 'ended') return;
    if (!this.isUp) return this.endSubscription(subscription);
    subscription.state = 'ending';
    this.sending(w => protocol.writeUnsubscribe(w, this.nextRequest(), subscription.set));
  }
  private endSubscription(subscription: Subscription, error?: Error): void {
    if (subscription.state === 'ended') return;
    subscription.state = 'ended';
    // What it held may stay for now, and nobody who resumes would hear that it goes.
    if (subscription.wasApplied) this.point = undefined;
    this.subscriptions.delete(subscription.set);
    if (error) guard(() => subscription.onError(error));
    else if (subscription.onEnd) guard(subscription.onEnd);
  }
  /**
   * One subscription for all who want the same query. It goes a moment after the last of them, so that a
   * page that changes its mind does not ask for the same rows twice.
   */
  share(query: QueryLike, listener: () => void): SharedHandle {
    const sql = String(query);
    let shared = this.shared.get(sql);
    if (!shared) {
      shared = new SharedQuery(this as Connection<any>, sql, () => this.shared.delete(sql));
      this.shared.set(sql, shared);
    }
    return shared.join(listener);
  }

  // ---- the connection comes and goes

  private onDown(error: Error | undefined, retryMs: number | undefined): void {
    const wasUp = this.isUp;
    this.isGreeted = false;
    this.abilities = undefined;
    this.protocol = undefined;
    this.out.clear();
    this.refilling = undefined;
    this.resuming = undefined;
    for (const store of this.stores.values()) store.dropRefill();
    const isOver = retryMs === undefined;
    this.error = error ?? this.error;
    for (const subscription of [...this.subscriptions.values()]) {
      if (subscription.state === 'ending') this.endSubscription(subscription);
      else subscription.state = 'waiting';
    }
    this.setStatus(isOver ? 'closed' : this.hasConnected ? 'stale' : 'connecting');
    this.change({ tag: 'Optimistic' }, () => this.loseCalls(error, isOver));
    if (wasUp || (isOver && !error)) guard(() => this.callbacks.onDisconnect(error));
    else if (error) guard(() => this.callbacks.onConnectError(error));
  }
  private loseCalls(error: Error | undefined, isOver: boolean): void {
    const why = error?.message ?? 'disconnect() was called';
    for (const [request, call] of this.pending) {
      const mayRepeat = call.isIdempotent || (call.kind === 'reducer' && this.knowsCalls);
      const isYoung = Date.now() - call.bornAt < REPEAT_FOR_MS;
      if (!isOver && (!call.isSent || (mayRepeat && isYoung))) continue;
      this.pending.delete(request);
      call.reject(
        call.isSent
          ? new ConnectionLostError(`The connection was lost before ${call.name} was answered: ${why}`)
          : new NotConnectedError(`${call.name} was not sent: ${why}`)
      );
    }
  }

  private onGreeting(r: Reader): void {
    this.identity = r.identity();
    this.connectionId = r.connectionId();
    const token = r.string();
    this.token ??= token;
    this.isGreeted = true;
    this.knowsCalls = this.abilities!.extended;
    this.error = undefined;
    const isFirst = !this.hasConnected;
    this.hasConnected = true;
    this.subscribeAgain(isFirst);
    for (const [request, call] of [...this.pending]) {
      const mayRepeat = call.isIdempotent || (call.kind === 'reducer' && this.knowsCalls);
      if (call.isSent && !(mayRepeat && Date.now() - call.bornAt < REPEAT_FOR_MS)) {
        this.pending.delete(request);
        call.reject(new ConnectionLostError(`The connection was lost before ${call.name} was answered`));
      } else {
        this.send(request, call);
      }
    }
    if (isFirst) guard(() => this.callbacks.onConnect(this.identity!, this.token!));
    else guard(() => this.callbacks.onReconnect());
  }
  private subscribeAgain(isFirst: boolean): void {
    if (isFirst || this.subscriptions.size === 0) {
      for (const { set, queries } of this.subscriptions.values())
        this.sending(w => protocol.writeSubscribe(w, this.nextRequest(), set, queries));
      if (!isFirst) this.startRefill();
      else this.live();
      return;
    }
    // New numbers: nothing of the old connection can be mistaken for these.
    const wanted = [...this.subscriptions.values()];
    this.subscriptions = new Map();
    for (const subscription of wanted) {
      subscription.set = this.nextRequest();
      this.subscriptions.set(subscription.set, subscription);
    }
    const isComplete = wanted.every(subscription => subscription.wasApplied);
    if (this.abilities!.extended && this.point && isComplete) this.resume(this.point);
    else this.startRefill();
  }
  private resume(from: Point): void {
    this.resuming = this.nextRequest();
    const request = this.resuming;
    this.sending(w => protocol.writeResume(w, request, from, [...this.subscriptions.values()]));
  }
  private startRefill(): void {
    this.point = undefined;
    const wanted = [...this.subscriptions.values()].filter(({ state }) => state !== 'ending');
    this.refilling = new Set(wanted.map(({ set }) => set));
    for (const store of this.stores.values()) store.refill();
    for (const { set, queries } of wanted)
      this.sending(w => protocol.writeSubscribe(w, this.nextRequest(), set, queries));
    this.refilled();
  }
  private refilled(set?: number): void {
    if (!this.refilling) return;
    if (set !== undefined) this.refilling.delete(set);
    if (this.refilling.size > 0) return;
    this.refilling = undefined;
    this.change({ tag: 'Reconnected' }, () => {
      for (const store of this.stores.values()) {
        this.touching(store);
        store.swap();
      }
    });
    this.live();
  }
  private live(): void {
    this.link.settled();
    this.setStatus('live');
  }

  // ---- changing the tables

  private touching(store: Store): Store {
    if (!this.changedStores.has(store)) {
      this.changedStores.add(store);
      store.begin();
    }
    return store;
  }
  /** Everything in `apply` is one change; guesses are made anew on top of it. */
  private change(event: EventInfo, apply: () => void): void {
    const events: [Store, any[]][] = [];
    this.eventRows = events;
    for (const store of this.guessing) {
      this.touching(store);
      store.dropGuesses();
    }
    this.guessing.clear();
    try {
      apply();
    } finally {
      this.guess();
      this.tell(event, events);
    }
  }
  /** The tables as a guess may change them, which is noted. */
  private guessDraft(): Draft<M['tables']> {
    return (this.guessTree ??= mapTree(this.module.tables, isTable, (def: TableDef<any, any>) => {
      const store = this.store(def.name);
      const table = draftTable(store);
      const changing = <F extends (row: any) => void>(f: F) =>
        ((row: any) => {
          this.touching(store);
          this.guessing.add(store);
          f(row);
        }) as F;
      return { ...table, insert: changing(table.insert), update: changing(table.update), delete: changing(table.delete) };
    }) as Draft<M['tables']>);
  }
  private guess(): void {
    for (const [request, call] of this.pending) {
      if (!call.optimistic) continue;
      try {
        call.optimistic(this.guessDraft());
      } catch (error) {
        // A guess that cannot be made on these rows is none, nor is half of it; what the call does, the
        // server decides.
        this.pending.set(request, { ...call, optimistic: undefined });
        queueMicrotask(() => {
          throw error;
        });
        for (const store of this.guessing) store.dropGuesses();
        return this.guess();
      }
    }
  }
  private tell(event: EventInfo, events: [Store, any[]][]): void {
    const told: [Store, Change<any>[]][] = [];
    for (const store of this.changedStores) {
      const changes = store.finish();
      if (changes.length > 0) told.push([store, changes]);
    }
    this.changedStores.clear();
    for (const [store, rows] of events) told.push([store, rows.map(after => ({ before: undefined, after }))]);
    for (const [store, changes] of told)
      for (const each of [...store.onChange]) {
        this.event = event; // a listener before may have begun another change
        guard(() => each(changes));
      }
  }
  private readonly sink: protocol.RowSink = {
    inserts: (table, r) => this.rows(table).insertRows(r),
    deletes: (table, r) => this.rows(table).deleteRows(r),
    events: (table, r) => {
      const store = this.store(table);
      this.eventRows.push([store, store.events(r)]);
    },
  };

  // With rows that came after it, the last point says less than what is here, until the next one.
  private rows(table: string): Store {
    this.point = undefined;
    return this.touching(this.store(table));
  }

  // ---- receiving

  private onMessage(data: Uint8Array): void {
    const r = new Reader(data);
    const { abilities } = this;
    try {
      // A message may end the connection; what follows in the payload is then of no interest.
      do this.onOne(r);
      while (r.left > 0 && abilities!.batches && this.abilities === abilities);
    } catch (error) {
      this.point = undefined;
      this.link.restart(error instanceof Error ? error : new Error(String(error)));
    }
  }
  private onOne(r: Reader): void {
    const kind = r.u8();
    switch (kind as Server) {
      case Server.InitialConnection:
        return this.onGreeting(r);
      case Server.SubscribeApplied:
        return this.onSubscribed(r);
      case Server.UnsubscribeApplied:
        return this.onUnsubscribed(r);
      case Server.SubscriptionError:
        return this.onSubscriptionError(r);
      case Server.TransactionUpdate:
        return this.change({ tag: 'Transaction' }, () => protocol.readUpdate(r, this.sink));
      case Server.OneOffQueryResult:
        return this.onOneOff(r);
      case Server.ReducerResult:
        return this.onReducer(r);
      case Server.ProcedureResult:
        return this.onProcedure(r);
      case Server.Resumed:
        return this.onResumed(r);
      case Server.Progress:
        return this.onProgress({ history: r.u128(), offset: r.u64() });
      default:
        r.badTag(kind, 'ServerMessage');
    }
  }
  // Rows that wait for the comparison would not be there for whoever resumes.
  private onProgress(point: Point): void {
    if (!this.refilling) this.point = point;
  }
  private onSubscribed(r: Reader): void {
    r.u32();
    const set = r.u32();
    const subscription = this.subscriptions.get(set);
    this.point = undefined;
    this.change({ tag: 'SubscribeApplied' }, () => protocol.readQueryRows(r, this.sink.inserts));
    if (subscription && subscription.state !== 'ending') subscription.state = 'active';
    this.refilled(set);
    if (!subscription || subscription.wasApplied) return;
    subscription.wasApplied = true;
    guard(subscription.onApplied);
  }
  private onUnsubscribed(r: Reader): void {
    r.u32();
    const set = r.u32();
    this.change({ tag: 'UnsubscribeApplied' }, () => {
      if (r.some()) protocol.readQueryRows(r, this.sink.deletes);
    });
    const subscription = this.subscriptions.get(set);
    if (subscription) this.endSubscription(subscription);
    this.refilled(set);
  }
  private onSubscriptionError(r: Reader): void {
    const isAnswer = r.some();
    if (isAnswer) r.u32();
    const set = r.u32();
    const text = r.string();
    const subscription = this.subscriptions.get(set);
    if (!subscription) return;
    const had = subscription.state === 'active';
    this.endSubscription(subscription, subscription.state === 'ending' ? undefined : new SubscriptionError(text));
    this.refilled(set);
    // The server has dropped a set whose rows are here, and will not say which they were: ask for the rest.
    if (!isAnswer && had) {
      this.point = undefined;
      this.link.restart(new SubscriptionError(text));
    }
  }
  private take(request: number): Pending | undefined {
    const call = this.pending.get(request);
    this.pending.delete(request);
    return call;
  }
  private onReducer(r: Reader): void {
    const call = this.take(r.u32());
    const timestamp = r.timestamp();
    const outcome = r.u8() as Outcome;
    const event: EventInfo = { tag: 'Reducer', value: { name: call?.name ?? '', timestamp } };
    let error: Error | undefined;
    try {
      if (outcome === Outcome.Ok) r.subarray();
      else if (outcome === Outcome.Err) error = new SenderError(new Reader(r.subarray()).string());
      else if (outcome === Outcome.InternalError) error = new InternalError(r.string());
      else if (outcome !== Outcome.OkEmpty) r.badTag(outcome, 'ReducerOutcome');
      this.change(event, () => {
        if (outcome === Outcome.Ok) protocol.readUpdate(r, this.sink);
      });
    } catch (broken) {
      call?.reject(broken as Error);
      throw broken;
    }
    if (error) call?.reject(error);
    else call?.resolve(undefined);
  }
  private onProcedure(r: Reader): void {
    const tag = r.u8();
    const value = tag === 0 ? r.subarray() : r.string();
    r.timestamp();
    r.timeDuration();
    const call = this.take(r.u32());
    if (typeof value === 'string') return call?.reject(new InternalError(value));
    try {
      call?.resolve(call.result!(new Reader(value)));
    } catch (error) {
      call?.reject(error as Error);
    }
  }
  private readOneOff(r: Reader): unknown[] {
    const rows: unknown[] = [];
    protocol.readQueryRows(r, (table, r) => rows.push(...readRows(r, this.store(table).def.codec)));
    return rows;
  }
  private onOneOff(r: Reader): void {
    const call = this.take(r.u32());
    if (r.ok()) {
      const rows = this.readOneOff(r);
      call?.resolve(rows);
    } else {
      call?.reject(new SubscriptionError(r.string()));
    }
  }
  private onResumed(r: Reader): void {
    if (r.u32() !== this.resuming) r.fail('an answer to no question');
    this.resuming = undefined;
    if (!r.ok()) {
      r.string();
      return this.startRefill();
    }
    this.change({ tag: 'Reconnected' }, () =>
      protocol.readSince(r, (table, kind, r) => this.rows(table).since(kind, r))
    );
    for (const subscription of this.subscriptions.values())
      if (subscription.state === 'waiting') {
        if (subscription.wasApplied) subscription.state = 'active';
        else this.sending(w => protocol.writeSubscribe(w, this.nextRequest(), subscription.set, subscription.queries));
      }
    this.live();
  }
}
