// errors.ts: what a module throws, and what the database throws at it.

/** Refuses a call: the caller gets the message, and nothing of the call happens. */
export class SenderError extends Error {
  override readonly name: string = 'SenderError';
}

/** A failed call of the database. */
export class SpacetimeHostError extends Error {
  override readonly name: string = 'SpacetimeHostError';
}

export type HostErrorClass = new (message?: string) => SpacetimeHostError;

const NAMES = {
  HostCallFailure: 1,
  NotInTransaction: 2,
  BsatnDecodeError: 3,
  NoSuchTable: 4,
  NoSuchIndex: 5,
  NoSuchIter: 6,
  NoSuchConsoleTimer: 7,
  NoSuchBytes: 8,
  NoSpace: 9,
  BufferTooSmall: 11,
  UniqueAlreadyExists: 12,
  ScheduleAtDelayTooLong: 13,
  IndexNotUnique: 14,
  NoSuchRow: 15,
  AutoIncOverflow: 16,
  WouldBlockTransaction: 17,
  TransactionNotAnonymous: 18,
  TransactionIsReadOnly: 19,
  TransactionIsMut: 20,
  HttpError: 21,
} as const;

const byErrno = new Map<number, HostErrorClass>();

function makeErrors(): Record<keyof typeof NAMES, HostErrorClass> {
  const made: Record<string, HostErrorClass> = {};
  for (const [name, errno] of Object.entries(NAMES)) {
    const type = class extends SpacetimeHostError {
      override readonly name: string = name;
    };
    Object.defineProperty(type, 'name', { value: name });
    made[name] = type;
    byErrno.set(errno, type);
  }
  return made as Record<keyof typeof NAMES, HostErrorClass>;
}

/** What the database throws, by name: `catch (e) { if (e instanceof errors.UniqueAlreadyExists) … }` */
export const errors: Record<keyof typeof NAMES, HostErrorClass> & { readonly SpacetimeHostError: HostErrorClass } = {
  SpacetimeHostError,
  ...makeErrors(),
};

export const errorClass = (errno: number): HostErrorClass => byErrno.get(errno) ?? SpacetimeHostError;
