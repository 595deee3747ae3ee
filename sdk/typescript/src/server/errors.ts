// errors.ts: what a module throws, and what the database throws at it.

/** Refuses a call: the caller gets the message, and nothing of the call happens. */
export class SenderError extends Error {
  override readonly name: string = 'SenderError';
}

/** A failed call of the database. */
export class SpacetimeHostError extends Error {
  override readonly name: string = 'SpacetimeHostError';
}

const named = (name: string) =>
  class extends SpacetimeHostError {
    override readonly name: string = name;
  };

export const errors = {
  SpacetimeHostError,
  HostCallFailure: class HostCallFailure extends named('HostCallFailure') {},
  NotInTransaction: class NotInTransaction extends named('NotInTransaction') {},
  BsatnDecodeError: class BsatnDecodeError extends named('BsatnDecodeError') {},
  NoSuchTable: class NoSuchTable extends named('NoSuchTable') {},
  NoSuchIndex: class NoSuchIndex extends named('NoSuchIndex') {},
  NoSuchIter: class NoSuchIter extends named('NoSuchIter') {},
  NoSuchConsoleTimer: class NoSuchConsoleTimer extends named('NoSuchConsoleTimer') {},
  NoSuchBytes: class NoSuchBytes extends named('NoSuchBytes') {},
  NoSpace: class NoSpace extends named('NoSpace') {},
  BufferTooSmall: class BufferTooSmall extends named('BufferTooSmall') {},
  UniqueAlreadyExists: class UniqueAlreadyExists extends named('UniqueAlreadyExists') {},
  ScheduleAtDelayTooLong: class ScheduleAtDelayTooLong extends named('ScheduleAtDelayTooLong') {},
  IndexNotUnique: class IndexNotUnique extends named('IndexNotUnique') {},
  NoSuchRow: class NoSuchRow extends named('NoSuchRow') {},
  AutoIncOverflow: class AutoIncOverflow extends named('AutoIncOverflow') {},
  WouldBlockTransaction: class WouldBlockTransaction extends named('WouldBlockTransaction') {},
  TransactionNotAnonymous: class TransactionNotAnonymous extends named('TransactionNotAnonymous') {},
  TransactionIsReadOnly: class TransactionIsReadOnly extends named('TransactionIsReadOnly') {},
  TransactionIsMut: class TransactionIsMut extends named('TransactionIsMut') {},
  HttpError: class HttpError extends named('HttpError') {},
};

const byErrno: Record<number, typeof SpacetimeHostError> = {
  1: errors.HostCallFailure,
  2: errors.NotInTransaction,
  3: errors.BsatnDecodeError,
  4: errors.NoSuchTable,
  5: errors.NoSuchIndex,
  6: errors.NoSuchIter,
  7: errors.NoSuchConsoleTimer,
  8: errors.NoSuchBytes,
  9: errors.NoSpace,
  11: errors.BufferTooSmall,
  12: errors.UniqueAlreadyExists,
  13: errors.ScheduleAtDelayTooLong,
  14: errors.IndexNotUnique,
  15: errors.NoSuchRow,
  16: errors.AutoIncOverflow,
  17: errors.WouldBlockTransaction,
  18: errors.TransactionNotAnonymous,
  19: errors.TransactionIsReadOnly,
  20: errors.TransactionIsMut,
  21: errors.HttpError,
};
export const errorClass = (errno: number): typeof SpacetimeHostError => byErrno[errno] ?? SpacetimeHostError;
