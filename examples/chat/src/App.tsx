import { useMemo, useState } from 'react';
import { useConnection, useReducer, useTable } from 'lightcone/react';
import { Composer } from './Composer';
import { Mark } from './Mark';
import { Messages } from './Messages';
import { reducers, tables } from './module_bindings';
import type { User } from './module_bindings/types';
import { NameEditor, People } from './People';

function useConnectionText(): { text: string; ok: boolean } {
  const { status } = useConnection();
  switch (status) {
    case 'live':
      return { text: 'Connected', ok: true };
    case 'stale':
      return { text: 'Reconnecting…', ok: false };
    case 'connecting':
      return { text: 'Connecting…', ok: false };
    case 'closed':
      return { text: 'Not connected', ok: false };
  }
}

export function App() {
  const { identity } = useConnection();
  const [users, usersReady] = useTable(tables.user);
  const [messages, messagesReady] = useTable(tables.message);
  const setName = useReducer(reducers.setName);
  const sendMessage = useReducer(reducers.sendMessage);
  const connection = useConnectionText();
  const [peopleOpen, setPeopleOpen] = useState(false);

  const byIdentity = useMemo(
    () => new Map<string, User>(users.map(user => [user.identity.toHexString(), user])),
    [users]
  );
  const me = identity && byIdentity.get(identity.toHexString());
  const online = users.filter(user => user.online).length;

  return (
    <div className="app">
      <header className="top">
        <div className="brand">
          <Mark />
          <h1>Chat</h1>
        </div>
        <p className={connection.ok ? 'state ok' : 'state'} role="status">
          {connection.text}
        </p>
        <button
          className="people-toggle"
          aria-expanded={peopleOpen}
          onClick={() => setPeopleOpen(!peopleOpen)}
        >
          {online} online
        </button>
      </header>
      <aside className={peopleOpen ? 'side open' : 'side'}>
        <People users={users} me={me} />
        {me && <NameEditor user={me} onSave={name => setName({ name })} />}
      </aside>
      <main className="room">
        <Messages
          messages={messages}
          users={byIdentity}
          me={identity}
          ready={usersReady && messagesReady}
        />
        {me && !me.name && (
          <div className="hint">
            <span>Others see you as a guest.</span>
            <NameEditor user={me} onSave={name => setName({ name })} open />
          </div>
        )}
        <Composer disabled={!connection.ok} onSend={text => sendMessage({ text })} />
      </main>
    </div>
  );
}
