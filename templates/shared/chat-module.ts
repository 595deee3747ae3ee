// The chat's whole server: its tables and the functions that change them. Clients never write to a table; they
// call a reducer, which runs inside the database as one transaction and may refuse.
import { schema, SenderError, t, table } from 'lightcone/server';

const user = table(
  { name: 'user', public: true },
  { identity: t.identity().primaryKey(), name: t.string(), online: t.bool() }
);

const message = table(
  { name: 'message', public: true },
  { id: t.u64().primaryKey().autoInc(), sender: t.identity(), sent: t.timestamp(), text: t.string() }
);

// The windows that are open, for nobody to see: who has two is online until both are closed.
const session = table(
  { name: 'session' },
  { id: t.connectionId().primaryKey(), identity: t.identity().index('btree') }
);

const db = schema({ user, message, session });
export default db;

function checked(text: string, what: string, lengthMax: number): string {
  const trimmed = text.trim();
  if (!trimmed) throw new SenderError(`${what} must not be empty`);
  if (trimmed.length > lengthMax) throw new SenderError(`${what} must not be longer than ${lengthMax} characters`);
  return trimmed;
}

export const set_name = db.reducer({ name: t.string() }, (ctx, { name }) => {
  const me = ctx.db.user.identity.find(ctx.sender);
  if (!me) throw new SenderError('You are not connected');
  ctx.db.user.identity.update({ ...me, name: checked(name, 'Names', 32) });
});

export const send_message = db.reducer({ text: t.string() }, (ctx, { text }) => {
  ctx.db.message.insert({ id: 0n, sender: ctx.sender, sent: ctx.timestamp, text: checked(text, 'Messages', 2000) });
});

export const on_connect = db.clientConnected(ctx => {
  ctx.db.session.insert({ id: ctx.connectionId!, identity: ctx.sender });
  const me = ctx.db.user.identity.find(ctx.sender);
  if (me) ctx.db.user.identity.update({ ...me, online: true });
  else ctx.db.user.insert({ identity: ctx.sender, name: `Guest ${ctx.sender.toHexString().slice(-4)}`, online: true });
});

export const on_disconnect = db.clientDisconnected(ctx => {
  ctx.db.session.id.delete(ctx.connectionId!);
  const me = ctx.db.user.identity.find(ctx.sender);
  const others = [...ctx.db.session.identity.filter(ctx.sender)];
  if (me) ctx.db.user.identity.update({ ...me, online: others.length > 0 });
});
