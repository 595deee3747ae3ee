import { LightconeProvider } from 'lightcone/react';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './App';
import { DbConnection } from './module_bindings';
import { claimSeat } from './seat';
import './styles.css';

// The page talks to the server it came from; `?db=` names another database on it.
const address = new URL(location.href);
const uri = `${address.protocol === 'https:' ? 'wss' : 'ws'}://${address.host}`;
const database = address.searchParams.get('db') ?? 'chat';

const seat = await claimSeat(`${uri}/${database}`);
const builder = DbConnection.builder()
  .withUri(uri)
  .withDatabaseName(database)
  .withToken(seat.token())
  .onConnect((_connection, _identity, token) => seat.keep(token));

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <LightconeProvider connectionBuilder={builder}>
      <App />
    </LightconeProvider>
  </StrictMode>
);
