import { useState, type FormEvent } from 'react';
import type { User } from './module_bindings/types';
import { hueOf, initialOf, nameOf } from './names';

export function Avatar({ user, name, hue }: { user?: User; name: string; hue: number }) {
  return (
    <span
      className={user?.online ? 'avatar online' : 'avatar'}
      style={{ '--hue': hue } as React.CSSProperties}
      aria-hidden="true"
    >
      {initialOf(name)}
    </span>
  );
}

function Person({ user, isMe }: { user: User; isMe: boolean }) {
  const name = nameOf(user.identity, user);
  return (
    <li className={user.online ? 'person' : 'person away'}>
      <Avatar user={user} name={name} hue={hueOf(user.identity)} />
      <span className="person-name">{name}</span>
      {isMe && <span className="you">you</span>}
    </li>
  );
}

function Group({ title, users, me }: { title: string; users: User[]; me: User | undefined }) {
  if (users.length === 0) return null;
  const isMe = (user: User) => me !== undefined && user.identity.isEqual(me.identity);
  const sorted = [...users].sort(
    (a, b) =>
      Number(isMe(b)) - Number(isMe(a)) ||
      nameOf(a.identity, a).localeCompare(nameOf(b.identity, b))
  );
  return (
    <section>
      <h2>
        {title} <span className="count">{users.length}</span>
      </h2>
      <ul>
        {sorted.map(user => (
          <Person key={user.identity.toHexString()} user={user} isMe={isMe(user)} />
        ))}
      </ul>
    </section>
  );
}

export function People({ users, me }: { users: readonly User[]; me: User | undefined }) {
  return (
    <nav className="people" aria-label="People">
      <Group title="Online" users={users.filter(user => user.online)} me={me} />
      <Group title="Away" users={users.filter(user => !user.online)} me={me} />
    </nav>
  );
}

// A name and a way to change it. The database decides whether a name will do, and says why not.
export function NameEditor(props: {
  user: User;
  onSave: (name: string) => Promise<unknown>;
  open?: boolean;
}) {
  const { user, onSave } = props;
  const [draft, setDraft] = useState<string | null>(props.open ? '' : null);
  const [error, setError] = useState('');

  if (draft === null) {
    return (
      <button className="name-button" onClick={() => setDraft(user.name ?? '')}>
        {user.name ? 'Change name' : 'Choose a name'}
      </button>
    );
  }
  const save = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await onSave(draft);
      setError('');
      setDraft(null);
    } catch (problem) {
      setError(problem instanceof Error ? problem.message : String(problem));
    }
  };
  return (
    <form className="name-form" onSubmit={save}>
      <input
        aria-label="Your name"
        placeholder="Your name"
        maxLength={40}
        autoFocus={!props.open}
        value={draft}
        onChange={event => setDraft(event.target.value)}
        onKeyDown={event => event.key === 'Escape' && !props.open && setDraft(null)}
      />
      <button type="submit">Save</button>
      {error && (
        <p className="error" role="alert">
          {error}
        </p>
      )}
    </form>
  );
}
