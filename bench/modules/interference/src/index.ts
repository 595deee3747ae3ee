// What bench/interference.mjs calls: short transfers, and everything that could get into their way.
import { schema, SenderError, t, table } from 'lightcone/server';

const ACCOUNTS = 100_000;

const db = schema({
  account: table({ name: 'account', public: true }, { id: t.u32().primaryKey(), balance: t.i64() }),
  big: table({ name: 'big', public: true }, { id: t.u32().primaryKey(), n: t.u32(), text: t.string() }),
  pace: table({ name: 'pace', public: true }, { id: t.u32().primaryKey(), ms: t.u32() }),
});
export default db;

function spin(ms: number) {
  for (const end = Date.now() + ms; Date.now() < end; );
}

export const init = db.init(ctx => {
  for (let id = 0; id < ACCOUNTS; id++) ctx.db.account.insert({ id, balance: 1000n });
  ctx.db.pace.insert({ id: 0, ms: 0 });
});
export const transfer = db.reducer(
  { from: t.u32(), to: t.u32(), amount: t.u32() },
  (ctx, { from, to, amount }) => {
    const debit = ctx.db.account.id.find(from);
    const credit = ctx.db.account.id.find(to);
    if (!debit || !credit) throw new SenderError('no such account');
    if (from === to) throw new SenderError('an account cannot pay itself');
    ctx.db.account.id.update({ id: from, balance: debit.balance - BigInt(amount) });
    ctx.db.account.id.update({ id: to, balance: credit.balance + BigInt(amount) });
  }
);
export const fill = db.reducer({ from: t.u32(), count: t.u32() }, (ctx, { from, count }) => {
  for (let id = from; id < from + count; id++) ctx.db.big.insert({ id, n: id % 1000, text: 'sixteen letters.' });
});
export const setPace = db.reducer({ ms: t.u32() }, (ctx, { ms }) => {
  ctx.db.pace.id.update({ id: 0, ms });
});

export const slowReducer = db.reducer({ ms: t.u32() }, (_ctx, { ms }) => spin(ms));
export const slowView = db.anonymousView(
  { name: 'slow_view', public: true },
  t.array(t.row('Paced', { ms: t.u32() })),
  ctx => {
    const { ms } = ctx.db.pace.id.find(0)!;
    spin(ms);
    return [{ ms }];
  }
);
// Waits for the network.
export const wait = db.procedure({ url: t.string() }, t.u32(), (ctx, { url }) => ctx.http.fetch(url).status);
