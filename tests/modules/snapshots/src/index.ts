// Tables that are large, and views that take long, while others write.
import { schema, table, t } from 'spacetimedb/server';

const account = table(
  { name: 'account', public: true },
  { id: t.u32().primaryKey(), owner: t.u32().index('btree'), balance: t.i64() }
);
const note = table({ name: 'note', public: true }, { id: t.u64().primaryKey().autoInc(), n: t.u32() });
const pace = table({ name: 'pace' }, { id: t.u32().primaryKey(), ms: t.u32(), value: t.u32() });

const db = schema({ account, note, pace });
export default db;

export const init = db.init(ctx => {
  ctx.db.pace.insert({ id: 0, ms: 0, value: 0 });
});

function spin(ms: number) {
  for (const end = Date.now() + ms; Date.now() < end; );
}

// Accounts from `from` on, all with the same balance.
export const fill = db.reducer({ from: t.u32(), count: t.u32() }, (ctx, { from, count }) => {
  for (let id = from; id < from + count; id++) ctx.db.account.insert({ id, owner: id % 4, balance: 100n });
});
// What one loses the other gets: the sum of all balances never changes.
export const transfer = db.reducer({ from: t.u32(), to: t.u32(), amount: t.i64() }, (ctx, { from, to, amount }) => {
  const [a, b] = [ctx.db.account.id.find(from)!, ctx.db.account.id.find(to)!];
  ctx.db.account.id.update({ ...a, balance: a.balance - amount });
  ctx.db.account.id.update({ ...b, balance: b.balance + amount });
});
export const write = db.reducer({ n: t.u32() }, (ctx, { n }) => {
  ctx.db.note.insert({ id: 0n, n });
});
export const setPace = db.reducer({ ms: t.u32(), value: t.u32() }, (ctx, { ms, value }) => {
  ctx.db.pace.id.update({ id: 0, ms, value });
});

const Value = t.row('Value', { value: t.u32() });
// As slow as it is told to be.
export const slow = db.anonymousView({ name: 'slow', public: true }, t.array(Value), ctx => {
  const { ms, value } = ctx.db.pace.id.find(0)!;
  spin(ms);
  return [{ value }];
});
// Slow for each of its watchers by themselves.
export const mine = db.view({ name: 'mine', public: true }, t.array(Value), ctx => {
  const { ms, value } = ctx.db.pace.id.find(0)!;
  spin(ms);
  return [{ value }];
});
// Slow because of what it reads.
export const total = db.anonymousView(
  { name: 'total', public: true },
  t.array(t.row('Sum', { balance: t.i64() })),
  ctx => {
    let balance = 0n;
    for (const row of ctx.db.account.iter()) balance += row.balance;
    return [{ balance }];
  }
);
