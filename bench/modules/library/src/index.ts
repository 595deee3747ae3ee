// What bench/library calls: a reducer for each kind of thing that functions do, on our module library and on
// npm's. In alphabetical order, so that their numbers are the same in both.
import { schema, t, table } from 'lightcone/server';

const db = schema({
  account: table({ name: 'account', public: true }, { id: t.u32().primaryKey(), balance: t.i64() }),
  person: table(
    { name: 'person', public: true },
    { id: t.u32().primaryKey(), name: t.string(), team: t.u32().index('btree'), age: t.u8(), who: t.identity(), seen: t.timestamp() }
  ),
});
export default db;

const two = { from: t.u32(), to: t.u32(), amount: t.u32() };

export const a_nothing = db.reducer(two, () => {});

export const b_find = db.reducer(two, (ctx, { from, to }) => {
  const a = ctx.db.account.id.find(from);
  const b = ctx.db.account.id.find(to);
  if (!a || !b) throw new Error('no such account');
});

export const c_transfer = db.reducer(two, (ctx, { from, to, amount }) => {
  const debit = ctx.db.account.id.find(from);
  const credit = ctx.db.account.id.find(to);
  if (!debit || !credit) throw new Error('no such account');
  if (from === to) throw new Error('an account cannot pay itself');
  if (debit.balance < BigInt(amount)) throw new Error('insufficient funds');
  ctx.db.account.id.update({ id: from, balance: debit.balance - BigInt(amount) });
  ctx.db.account.id.update({ id: to, balance: credit.balance + BigInt(amount) });
});

export const d_insert_delete = db.reducer(two, (ctx, { from }) => {
  ctx.db.account.insert({ id: 1000 + from, balance: 1n });
  ctx.db.account.id.delete(1000 + from);
});

export const e_iterate = db.reducer(two, ctx => {
  let sum = 0n;
  for (const account of ctx.db.account.iter()) sum += account.balance;
  if (sum < 0n) throw new Error('less than nothing');
});

export const f_wide_row = db.reducer(two, (ctx, { from, amount }) => {
  const person = ctx.db.person.id.find(from)!;
  ctx.db.person.id.update({ ...person, age: (person.age + amount) & 127 });
});

export const g_filter = db.reducer(two, (ctx, { from }) => {
  let ages = 0;
  for (const person of ctx.db.person.team.filter(from)) ages += person.age;
  if (ages < 0) throw new Error('younger than nothing');
});

export const h_sender = db.reducer(two, (ctx, { from }) => {
  const person = ctx.db.person.id.find(from)!;
  ctx.db.person.id.update({ ...person, who: ctx.sender, seen: ctx.timestamp });
});
