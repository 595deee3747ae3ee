import { useEffect, useMemo, useRef, useState, type FormEvent } from 'react';
import type { Identity } from 'lightcone';
import { useConnection, useReducer, useTable } from 'lightcone/react';
import { reducers, tables } from './module_bindings';
import type { Message, User } from './module_bindings/types';

// A line of text that is sent to a reducer. What the database refuses stays, with the reason under it.
function Line(props: { label: string; button: string; initial?: string; onSend: (text: string) => Promise<void> }) {
  const [text, setText] = useState(props.initial ?? '');
  const [error, setError] = useState('');
  const send = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await props.onSend(text);
      setText(props.initial === undefined ? '' : text);
      setError('');
    } catch (problem) {
      setError(problem instanceof Error ? problem.message : String(problem));
    }
  };
  return (
    <form onSubmit={send}>
      <input
        aria-label={props.label}
        placeholder={props.label}
        autoComplete="off"
        value={text}
        onChange={event => setText(event.target.value)}
      />
      <button disabled={!text.trim()}>{props.button}</button>
      {error && <p role="alert">{error}</p>}
    </form>
  );
}

function Messages(props: { messages: readonly Message[]; users: Map<string, User>; me: Identity | undefined }) {
  const end = useRef<HTMLLIElement>(null);
  const sorted = useMemo(
    () => [...props.messages].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)),
    [props.messages]
  );
  useEffect(() => {
    end.current?.scrollIntoView();
  }, [sorted.length]);
  return (
    <ol className="messages" role="log" aria-label="Messages">
      {sorted.length === 0 && <li className="quiet">Nothing has been said yet.</li>}
      {sorted.map(message => {
        const mine = props.me?.isEqual(message.sender);
        return (
          <li key={String(message.id)} className={mine ? 'message mine' : 'message'}>
            <p className="author">
              {mine ? 'You' : props.users.get(message.sender.toHexString())?.name}{' '}
              {message.sent.toDate().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })}
            </p>
            <p className="bubble">{message.text}</p>
          </li>
        );
      })}
      <li ref={end} aria-hidden="true" />
    </ol>
  );
}

export function Chat() {
  const { status, identity } = useConnection();
  const [users] = useTable(tables.user);
  const [messages] = useTable(tables.message);
  const sendMessage = useReducer(reducers.sendMessage);
  const setName = useReducer(reducers.setName);

  const byIdentity = useMemo(() => new Map(users.map(user => [user.identity.toHexString(), user])), [users]);
  const me = identity && byIdentity.get(identity.toHexString());
  const isLive = status === 'live';
  return (
    <div className="chat">
      <header className="top">
        <h1>__NAME__</h1>
        <p role="status" className={isLive ? 'live' : ''}>
          {isLive ? 'Connected' : 'Connecting…'}
        </p>
      </header>
      <Messages messages={messages} users={byIdentity} me={identity} />
      <aside className="people">
        <h2>Here</h2>
        <ul aria-label="People">
          {[...users]
            .sort((a, b) => Number(b.online) - Number(a.online) || a.name.localeCompare(b.name))
            .map(user => (
              <li key={user.identity.toHexString()} className={user.online ? '' : 'away'}>
                {user.name}
              </li>
            ))}
        </ul>
        {me && (
          <>
            <h2>Your name</h2>
            <Line key={me.name} label="Your name" button="Save" initial={me.name} onSend={name => setName({ name })} />
          </>
        )}
      </aside>
      <div className="composer">
        <Line label="Message" button="Send" onSend={text => sendMessage({ text })} />
      </div>
    </div>
  );
}
