// What bench/load calls: a row appended, and money moved between two of many accounts.
import { schema, SenderError, t, table } from 'lightcone/server';

const ACCOUNTS = 100_000;
const START_BALANCE = 1000n;

const db = schema({
  account: table(
    { name: 'account', public: true },
    { id: t.u32().primaryKey(), balance: t.i64() }
  ),
  message: table(
    { name: 'message', public: true },
    { id: t.u64().primaryKey().autoInc(), text: t.string() }
  ),
});
export default db;

export const init = db.init(ctx => {
  for (let id = 0; id < ACCOUNTS; id++) ctx.db.account.insert({ id, balance: START_BALANCE });
});

export const insert = db.reducer({ text: t.string() }, (ctx, { text }) => {
  ctx.db.message.insert({ id: 0n, text });
});

export const transfer = db.reducer(
  { from: t.u32(), to: t.u32(), amount: t.u32() },
  (ctx, { from, to, amount }) => {
    const debit = ctx.db.account.id.find(from);
    const credit = ctx.db.account.id.find(to);
    if (!debit || !credit) throw new SenderError('no such account');
    if (from === to) throw new SenderError('an account cannot pay itself');
    if (debit.balance < BigInt(amount)) throw new SenderError('insufficient funds');
    ctx.db.account.id.update({ id: from, balance: debit.balance - BigInt(amount) });
    ctx.db.account.id.update({ id: to, balance: credit.balance + BigInt(amount) });
  }
);

// Forget the messages, so that a run does not pay for the ones before it.
export const clear = db.reducer(ctx => {
  for (const message of [...ctx.db.message.iter()]) ctx.db.message.id.delete(message.id);
});
