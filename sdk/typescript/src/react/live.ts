// live.ts: the rows of one query as React wants them: an object that is another one exactly when what
// it shows has changed. Knows nothing of React.
import type { Connection } from '../client/connection.js';
import type { Query } from '../client/query.js';
import { rowsOf, type Change, type Store } from '../client/store.js';
import type { SharedHandle } from '../client/subscription.js';

export interface Snapshot<Row> {
  readonly rows: readonly Row[];
  /** The first rows have come. */
  readonly isReady: boolean;
  /** The connection is lost; these are the rows as they were last. */
  readonly isStale: boolean;
  readonly error: Error | undefined;
}
export const NOTHING: Snapshot<never> = { rows: [], isReady: false, isStale: false, error: undefined };

export interface RowCallbacks<Row> {
  onInsert?(row: Row): void;
  onDelete?(row: Row): void;
  onUpdate?(before: Row, now: Row): void;
}

export class LiveQuery<Row> {
  private readonly store: Store;
  private readonly other: Store | undefined;
  private shared: SharedHandle | undefined;
  private seen = -1;
  private seenOther = -1;
  private snapshot: Snapshot<Row> = NOTHING;
  callbacks: RowCallbacks<Row> = {};

  constructor(
    private readonly connection: Connection<any>,
    private readonly query: Query<Row>
  ) {
    this.store = connection.store(query.source.name);
    if (query.join) this.other = connection.store(query.join.other.source.name);
  }

  readonly subscribe = (notify: () => void): (() => void) => {
    const onChange = (changes: readonly Change<Row>[]) => {
      const mine = this.query.predicate ? changes.filter(change => this.concerns(change)) : changes;
      // What does not concern this query is seen without a new list.
      if (mine.length === 0 && this.seen === this.store.version - 1) this.seen = this.store.version;
      if (mine.length === 0) return;
      notify();
      this.tell(mine);
    };
    this.store.onChange.add(onChange);
    this.other?.onChange.add(notify);
    const offStatus = this.connection.onStatus(notify);
    this.shared = this.connection.share(this.query, notify);
    return () => {
      this.store.onChange.delete(onChange);
      this.other?.onChange.delete(notify);
      offStatus();
      this.shared?.leave();
      this.shared = undefined;
    };
  };
  private concerns({ before, after }: Change<Row>): boolean {
    const { predicate } = this.query;
    return (before !== undefined && predicate!.test(before)) || (after !== undefined && predicate!.test(after));
  }
  private tell(changes: readonly Change<Row>[]): void {
    const { callbacks } = this;
    const test = this.query.predicate?.test ?? (() => true);
    for (const { before, after } of changes) {
      const was = before !== undefined && test(before);
      const is = after !== undefined && test(after);
      if (was && is) callbacks.onUpdate?.(before, after);
      else if (is) callbacks.onInsert?.(after);
      else if (was) callbacks.onDelete?.(before);
    }
  }

  readonly read = (): Snapshot<Row> => {
    const { store, other } = this;
    const isSame = this.seen === store.version && this.seenOther === (other?.version ?? 0);
    const rows = isSame ? this.snapshot.rows : (rowsOf(this.query, store, other) as Row[]);
    this.seen = store.version;
    this.seenOther = other?.version ?? 0;
    const isReady = this.shared?.isReady() ?? this.snapshot.isReady;
    const isStale = this.connection.status === 'stale';
    const error = this.shared?.error();
    const before = this.snapshot;
    if (rows !== before.rows || isReady !== before.isReady || isStale !== before.isStale || error !== before.error)
      this.snapshot = { rows, isReady, isStale, error };
    return this.snapshot;
  };
}
