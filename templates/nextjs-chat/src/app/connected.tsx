'use client';
// The connection to the database, made in the browser: on the server hooks show no rows. `lightcone dev`
// writes where it is into .env.local.
import { useState, type ReactNode } from 'react';
import { LightconeProvider } from 'lightcone/react';
import { DbConnection } from '../module_bindings';

const host = process.env.NEXT_PUBLIC_LIGHTCONE_HOST ?? 'http://127.0.0.1:3000';
const database = process.env.NEXT_PUBLIC_LIGHTCONE_DB_NAME ?? '__NAME__';

// Who this window is. In sessionStorage every window is somebody else, which is handy for trying
// things out; in localStorage a browser would be one person for good.
const tokenKey = `token:${host}/${database}`;

function build() {
  const builder = DbConnection.builder().withUri(host).withDatabaseName(database);
  if (typeof window === 'undefined') return builder; // never connects
  return builder
    .withToken(sessionStorage.getItem(tokenKey) ?? undefined)
    .onConnect((_connection, _identity, token) => sessionStorage.setItem(tokenKey, token));
}

export function Connected({ children }: { children: ReactNode }) {
  const [builder] = useState(build);
  return <LightconeProvider connectionBuilder={builder}>{children}</LightconeProvider>;
}
