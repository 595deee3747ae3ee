// The module: the tables, and the functions that change them. They run inside the database; each call is
// one transaction, and throwing undoes it.
import { schema, SenderError, t, table } from 'lightcone/server';

const person = table(
  { name: 'person', public: true },
  { id: t.u64().primaryKey().autoInc(), name: t.string().unique() }
);

const db = schema({ person });
export default db;

export const add = db.reducer({ name: t.string() }, (ctx, { name }) => {
  const trimmed = name.trim();
  if (!trimmed) throw new SenderError('A person has a name');
  if (ctx.db.person.name.find(trimmed)) throw new SenderError(`${trimmed} is here already`);
  ctx.db.person.insert({ id: 0n, name: trimmed });
  console.info(`${trimmed} was added`);
});

export const remove = db.reducer({ id: t.u64() }, (ctx, { id }) => {
  ctx.db.person.id.delete(id);
});
