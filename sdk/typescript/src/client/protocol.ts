// protocol.ts: messages as bytes: v2, v3 and v1.bsatn.lightcone (docs/internals/protocols-ext.md).
//
// Client messages are appended to one Writer until it is sent: v3 takes many in one WebSocket message.
// Server messages are not built as objects. The reader stands behind the tag, and whoever handles the
// message reads on from there, rows going straight from the bytes into the tables.
import type { Reader, Writer } from '../core/bytes.js';

export const PROTOCOLS = ['v1.bsatn.lightcone', 'v3.bsatn.spacetimedb', 'v2.bsatn.spacetimedb'];

export interface Abilities {
  /** Many messages in one payload. */
  readonly batches: boolean;
  /** CallOnce, Resume, Progress. */
  readonly extended: boolean;
}
export function abilitiesOf(protocol: string): Abilities {
  return { batches: protocol !== PROTOCOLS[2] && protocol !== '', extended: protocol === PROTOCOLS[0] };
}

export const enum Server {
  InitialConnection,
  SubscribeApplied,
  UnsubscribeApplied,
  SubscriptionError,
  TransactionUpdate,
  OneOffQueryResult,
  ReducerResult,
  ProcedureResult,
  Resumed,
  Progress,
}

export const enum Outcome {
  Ok,
  OkEmpty,
  Err,
  InternalError,
}

export function writeSubscribe(w: Writer, request: number, set: number, queries: readonly string[]): void {
  w.u8(0);
  w.u32(request);
  w.u32(set);
  w.array(queries, (w, query) => w.string(query));
}

/** The answer brings the rows that this set held. */
export function writeUnsubscribe(w: Writer, request: number, set: number): void {
  w.u8(1);
  w.u32(request);
  w.u32(set);
  w.u8(1);
}

export function writeOneOff(w: Writer, request: number, query: string): void {
  w.u8(2);
  w.u32(request);
  w.string(query);
}

export function writeReducer(w: Writer, request: number, name: string, args: Uint8Array): void {
  w.u8(3);
  w.u32(request);
  w.u8(0);
  w.string(name);
  w.bytes(args);
}

export function writeProcedure(w: Writer, request: number, name: string, args: Uint8Array): void {
  w.u8(4);
  w.u32(request);
  w.u8(0);
  w.string(name);
  w.bytes(args);
}

export interface Once {
  readonly session: bigint;
  readonly number: bigint;
  readonly settled: bigint;
}
export function writeReducerOnce(w: Writer, request: number, once: Once, name: string, args: Uint8Array): void {
  w.u8(5);
  w.u32(request);
  w.u128(once.session);
  w.u64(once.number);
  w.u64(once.settled);
  w.string(name);
  w.bytes(args);
}

/** As of when the rows here are. */
export interface Point {
  readonly history: bigint;
  readonly offset: bigint;
}
export interface WantedSet {
  readonly set: number;
  readonly queries: readonly string[];
}
export function writeResume(w: Writer, request: number, from: Point, sets: readonly WantedSet[]): void {
  w.u8(6);
  w.u32(request);
  w.u128(from.history);
  w.u64(from.offset);
  w.array(sets, (w, { set, queries }) => {
    w.u32(set);
    w.array(queries, (w, query) => w.string(query));
  });
}

/** How a table is said to have changed meanwhile. */
export const enum Since {
  /** Rows that went, rows that came. */
  Rows,
  /** Rows whose primary key is all that they say: forget what has it; then rows that came. */
  Keys,
  /** Forget all; these rows it is. */
  Whole,
}

/** Resumed: of each table that changed, how. `each` reads two lists of rows. */
export function readSince(r: Reader, each: (table: string, kind: Since, r: Reader) => void): void {
  for (let count = r.u32(); count > 0; count--) {
    const table = r.string();
    const kind = r.u8();
    if (kind > Since.Whole) r.badTag(kind, 'TableSince');
    each(table, kind, r);
  }
}

/** What takes in the rows of an update. */
export interface RowSink {
  inserts(table: string, r: Reader): void;
  deletes(table: string, r: Reader): void;
  events(table: string, r: Reader): void;
}

/** QueryRows: tables and their rows, all inserted or all deleted. */
export function readQueryRows(r: Reader, each: (table: string, r: Reader) => void): void {
  for (let count = r.u32(); count > 0; count--) each(r.string(), r);
}

/** TransactionUpdate: of each set, of each table, what came and went. */
export function readUpdate(r: Reader, sink: RowSink): void {
  for (let sets = r.u32(); sets > 0; sets--) {
    r.u32(); // which set: rows are counted together
    for (let tables = r.u32(); tables > 0; tables--) {
      const table = r.string();
      for (let parts = r.u32(); parts > 0; parts--) {
        const kind = r.u8();
        if (kind === 0) {
          sink.inserts(table, r);
          sink.deletes(table, r);
        } else if (kind === 1) {
          sink.events(table, r);
        } else {
          r.badTag(kind, 'TableUpdateRows');
        }
      }
    }
  }
}
