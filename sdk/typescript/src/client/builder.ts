// builder.ts: DbConnection.builder(): where to connect, as whom, and who wants to hear of it.
import type { Identity } from '../core/ids.js';
import type { Callbacks, Config, Connection } from './connection.js';
import { NotConnectedError } from './errors.js';
import { guard } from './handles.js';
import type { ErrorContext } from './module.js';

type Build<C> = (config: Config, callbacks: Callbacks) => C;

export class ConnectionBuilder<C extends Connection<any>> {
  private uri: string | URL | undefined;
  private databaseName: string | undefined;
  private token: string | undefined;
  private compression: 'none' | 'gzip' | undefined;
  private confirmedReads: boolean | undefined;
  private readonly connected = new Set<(connection: C, identity: Identity, token: string) => void>();
  private readonly reconnected = new Set<(connection: C) => void>();
  private readonly disconnected = new Set<(ctx: ErrorContext<any>, error?: Error) => void>();
  private readonly failed = new Set<(ctx: ErrorContext<any>, error: Error) => void>();

  constructor(private readonly make: Build<C>) {}
  withUri(uri: string | URL): this {
    this.uri = uri;
    return this;
  }
  withDatabaseName(name: string): this {
    this.databaseName = name;
    return this;
  }
  /** What an earlier onConnect gave; without one the server makes a new identity. */
  withToken(token: string | undefined): this {
    this.token = token;
    return this;
  }
  withCompression(compression: 'none' | 'gzip'): this {
    this.compression = compression;
    return this;
  }
  /** false: hear of changes before they are on disk. */
  withConfirmedReads(confirmed: boolean): this {
    this.confirmedReads = confirmed;
    return this;
  }
  /** Once, when connected for the first time. Subscriptions made here come back by themselves. */
  onConnect(callback: (connection: C, identity: Identity, token: string) => void): this {
    this.connected.add(callback);
    return this;
  }
  onReconnect(callback: (connection: C) => void): this {
    this.reconnected.add(callback);
    return this;
  }
  /** Each time a connection is lost; without an error after disconnect(). */
  onDisconnect(callback: (ctx: ErrorContext<any>, error?: Error) => void): this {
    this.disconnected.add(callback);
    return this;
  }
  /** Each time that connecting fails. */
  onConnectError(callback: (ctx: ErrorContext<any>, error: Error) => void): this {
    this.failed.add(callback);
    return this;
  }
  build(): C {
    if (this.uri === undefined) throw new TypeError('withUri() is missing');
    if (this.databaseName === undefined) throw new TypeError('withDatabaseName() is missing');
    const context = (error: Error | undefined): ErrorContext<any> => ({
      ...made.context({ tag: 'Transaction' }),
      error: error ?? new NotConnectedError('The connection is closed'),
    });
    const made: C = this.make(
      {
        uri: this.uri,
        databaseName: this.databaseName,
        token: this.token,
        compression: this.compression ?? 'gzip',
        confirmedReads: this.confirmedReads,
      },
      {
        onConnect: (identity, token) => this.connected.forEach(each => guard(() => each(made, identity, token))),
        onReconnect: () => this.reconnected.forEach(each => guard(() => each(made))),
        onDisconnect: error => this.disconnected.forEach(each => guard(() => each(context(error), error))),
        onConnectError: error => this.failed.forEach(each => guard(() => each(context(error), error))),
      }
    );
    return made;
  }
}
