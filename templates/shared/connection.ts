// The connection to the database. `lightcone dev` writes where it is into .env.local.
import { DbConnection } from './module_bindings';

const host: string = import.meta.env.VITE_LIGHTCONE_HOST ?? location.origin;
const database: string = import.meta.env.VITE_LIGHTCONE_DB_NAME ?? '__NAME__';

// Who this window is. In sessionStorage every window is somebody else, which is handy for trying
// things out; in localStorage a browser would be one person for good.
const tokenKey = `token:${host}/${database}`;

export const builder = DbConnection.builder()
  .withUri(host)
  .withDatabaseName(database)
  .withToken(sessionStorage.getItem(tokenKey) ?? undefined)
  .onConnect((_connection, _identity, token) => sessionStorage.setItem(tokenKey, token));
