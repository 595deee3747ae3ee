// context.ts: what functions get: who calls, when, the tables, chance.
//
// The database hands in who and when as bigints. An Identity is eight words that take a bigint apart, which
// costs more than two rows found by key: it is made when somebody looks, and kept for those who call often.
import * as sys from 'spacetime:sys@2.0';
import { ConnectionId, Identity, Timestamp, Uuid } from '../core/ids.js';
import { fetchNow, type FetchOptions, type SyncResponse } from './http.js';

// ---- chance

/**
 * Numbers that look random, and are the same again for the same call: a transaction that is repeated
 * repeats them. Nobody should guard a secret with them.
 */
export interface Random {
  /** 0 ≤ n < 1 */
  (): number;
  fill<T extends Uint8Array | Uint16Array | Uint32Array>(array: T): T;
  uint32(): number;
  /** Both ends are possible. */
  integerInRange(min: number, max: number): number;
  bigintInRange(min: bigint, max: bigint): bigint;
}

// xoshiro128**, begun from the call's time by splitmix.
export function randomFrom(seed: bigint): Random {
  let mix = BigInt.asUintN(64, seed);
  const word = () => {
    mix = BigInt.asUintN(64, mix + 0x9e3779b97f4a7c15n);
    let z = BigInt.asUintN(64, (mix ^ (mix >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    return Number((z ^ (z >> 31n)) & 0xffffffffn) | 0;
  };
  let [a, b, c, d] = [word(), word(), word(), word()];
  const rotate = (n: number, by: number) => (n << by) | (n >>> (32 - by));
  const uint32 = () => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11);
    return result;
  };
  const unit = () => (uint32() * 2 ** 21 + (uint32() >>> 11)) / 2 ** 53;
  const bigintInRange = (min: bigint, max: bigint): bigint => {
    if (max < min) throw new RangeError(`There is nothing from ${min} to ${max}`);
    const span = max - min + 1n;
    // Whole words, one more than needed: what is left over by the division does not show.
    let drawn = 0n;
    for (let bits = 0; bits < span.toString(2).length + 64; bits += 32) drawn = (drawn << 32n) | BigInt(uint32());
    return min + (drawn % span);
  };
  return Object.assign(unit, {
    uint32,
    bigintInRange,
    integerInRange: (min: number, max: number) => Number(bigintInRange(BigInt(Math.ceil(min)), BigInt(Math.floor(max)))),
    fill: <T extends Uint8Array | Uint16Array | Uint32Array>(array: T): T => {
      for (let i = 0; i < array.length; i++) array[i] = uint32();
      return array;
    },
  });
}

// ---- who calls

export interface JwtClaims {
  readonly subject: string;
  readonly issuer: string;
  readonly audience: readonly string[];
  readonly identity: Identity;
  readonly rawPayload: string;
  readonly fullPayload: Readonly<Record<string, unknown>>;
}
export interface AuthCtx {
  /** Called by the database itself: a schedule, init. */
  readonly isInternal: boolean;
  readonly hasJWT: boolean;
  readonly jwt: JwtClaims | null;
}

function authOf(sender: Identity, connection: ConnectionId | null): AuthCtx {
  let read: JwtClaims | null | undefined;
  const jwt = (): JwtClaims | null => {
    if (read !== undefined) return read;
    const bytes = connection ? sys.get_jwt_payload(connection.__connection_id__) : new Uint8Array(0);
    if (bytes.length === 0) return (read = null);
    const rawPayload = new TextDecoder().decode(bytes);
    const claims = JSON.parse(rawPayload) as Record<string, unknown>;
    const { aud } = claims;
    return (read = {
      subject: String(claims['sub'] ?? ''),
      issuer: String(claims['iss'] ?? ''),
      audience: aud === undefined || aud === null ? [] : Array.isArray(aud) ? aud.map(String) : [String(aud)],
      identity: sender,
      rawPayload,
      fullPayload: claims,
    });
  };
  return {
    isInternal: connection === null,
    get hasJWT() {
      return jwt() !== null;
    },
    get jwt() {
      return jwt();
    },
  };
}

// ---- contexts

let database: Identity | undefined;
const databaseIdentity = () => (database ??= new Identity(sys.identity()));
const uuidCounter = { value: 0 };

const KNOWN_MAX = 1024; // bigints of 32 bytes and what they stand for: some 150 KB
const known = new Map<bigint, Identity>();
export function identityOf(id: bigint): Identity {
  let identity = known.get(id);
  if (identity === undefined) {
    if (known.size >= KNOWN_MAX) known.clear();
    known.set(id, (identity = new Identity(id)));
  }
  return identity;
}

// Every call makes one of these, so they are as flat as can be: what is `declare`d is given its place by the
// constructor, once.

class Moment {
  private declare readonly micros: bigint;
  private declare time: Timestamp | undefined;
  private declare chance: Random | undefined;
  constructor(micros: bigint) {
    this.micros = micros;
    this.time = undefined;
    this.chance = undefined;
  }
  get timestamp(): Timestamp {
    return (this.time ??= new Timestamp(this.micros));
  }
  get databaseIdentity(): Identity {
    return databaseIdentity();
  }
  /** The database's. */
  get identity(): Identity {
    return databaseIdentity();
  }
  get random(): Random {
    return (this.chance ??= randomFrom(this.micros));
  }
  newUuidV4(): Uuid {
    return Uuid.fromRandomBytesV4(this.random.fill(new Uint8Array(16)));
  }
  newUuidV7(): Uuid {
    return Uuid.fromCounterV7(uuidCounter, this.timestamp, this.random.fill(new Uint8Array(4)));
  }
}

/** Who calls, as the database says it. */
class Caller extends Moment {
  protected declare readonly who: bigint;
  protected declare readonly link: bigint; // 0n: nobody is connected
  private declare id: ConnectionId | null | undefined;
  private declare auth: AuthCtx | undefined;
  constructor(who: bigint, link: bigint, micros: bigint) {
    super(micros);
    this.who = who;
    this.link = link;
    this.id = undefined;
    this.auth = undefined;
  }
  get sender(): Identity {
    return identityOf(this.who);
  }
  get connectionId(): ConnectionId | null {
    if (this.id === undefined) this.id = this.link === 0n ? null : new ConnectionId(this.link);
    return this.id;
  }
  get senderAuth(): AuthCtx {
    return (this.auth ??= authOf(this.sender, this.connectionId));
  }
}

/** A transaction: it sees one state, and all it does is committed or nothing. */
export class ReducerCtx<Db> extends Caller {
  declare readonly db: Db;
  constructor(who: bigint, link: bigint, micros: bigint, db: Db) {
    super(who, link, micros);
    this.db = db;
  }
}

export interface ViewCtx<Db, From> {
  readonly sender: Identity;
  readonly db: Db;
  readonly from: From;
}
export interface AnonymousViewCtx<Db, From> {
  readonly db: Db;
  readonly from: From;
}

// ---- outside of a transaction

const http = {
  fetch: (url: string | { toString(): string }, options?: FetchOptions): SyncResponse => fetchNow(String(url), options),
};

// What the body does is kept when it returns and undone when it throws. When somebody else was faster it runs
// once more.
function transaction<Db, T>(who: bigint, link: bigint, db: Db, body: (tx: ReducerCtx<Db>) => T): T {
  const run = () => {
    const micros = sys.procedure_start_mut_tx();
    try {
      return body(new ReducerCtx(who, link, micros, db));
    } catch (error) {
      sys.procedure_abort_mut_tx();
      throw error;
    }
  };
  let result = run();
  try {
    sys.procedure_commit_mut_tx();
    return result;
  } catch {
    console.warn('committing anonymous transaction failed');
  }
  result = run();
  try {
    sys.procedure_commit_mut_tx();
    return result;
  } catch (error) {
    throw new Error('transaction retry failed again', { cause: error });
  }
}

export class ProcedureCtx<Db> extends Caller {
  readonly http = http;
  constructor(
    who: bigint,
    link: bigint,
    micros: bigint,
    private readonly tables: Db
  ) {
    super(who, link, micros);
  }
  /** One transaction: kept when the body returns, undone when it throws. It may run twice. */
  withTx<T>(body: (tx: ReducerCtx<Db>) => T): T {
    return transaction(this.who, this.link, this.tables, body);
  }
}

export class HandlerCtx<Db> extends Moment {
  readonly http = http;
  constructor(
    micros: bigint,
    private readonly tables: Db
  ) {
    super(micros);
  }
  /** One transaction, in the database's own name: kept when the body returns, undone when it throws. It may run twice. */
  withTx<T>(body: (tx: ReducerCtx<Db>) => T): T {
    return transaction(databaseIdentity().__identity__, 0n, this.tables, body);
  }
}
