import { builder } from './connection';
import { tables } from './module_bindings';
import './styles.css';

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const state = element('state');
const error = element('error');
const list = element('people');

const connection = builder.build();

connection.onStatus(() => {
  const isLive = connection.status === 'live';
  state.textContent = isLive ? 'Connected' : 'Connecting…';
  state.classList.toggle('live', isLive);
});

// What the database refuses is shown; everything else shows up by itself, here and everywhere.
async function attempt(call: Promise<void>) {
  error.textContent = '';
  try {
    await call;
  } catch (problem) {
    error.textContent = problem instanceof Error ? problem.message : String(problem);
  }
}

element<HTMLFormElement>('add').onsubmit = event => {
  event.preventDefault();
  const input = element<HTMLInputElement>('name');
  void attempt(connection.reducers.add({ name: input.value }));
  input.value = '';
};

function show() {
  const people = [...connection.db.person].sort((a, b) => a.name.localeCompare(b.name));
  list.replaceChildren(
    ...people.map(person => {
      const item = document.createElement('li');
      const remove = document.createElement('button');
      remove.textContent = 'Remove';
      remove.onclick = () => void attempt(connection.reducers.remove({ id: person.id }));
      item.append(person.name, remove);
      return item;
    })
  );
}
connection.db.person.onInsert(show);
connection.db.person.onUpdate(show);
connection.db.person.onDelete(show);
connection.subscriptionBuilder().onApplied(show).subscribe(tables.person);
