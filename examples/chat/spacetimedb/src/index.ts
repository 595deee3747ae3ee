// The chat's whole server: its tables and the functions that change them. Clients never write to
// a table; they call a reducer, which runs inside the database as one transaction and may refuse.
import { schema, table, t, SenderError } from 'lightcone/server';

const NAME_LENGTH_MAX = 32;
const TEXT_LENGTH_MAX = 2000;

const user = table(
  { name: 'user', public: true },
  {
    identity: t.identity().primaryKey(),
    name: t.option(t.string()),
    online: t.bool(),
  }
);

const message = table(
  { name: 'message', public: true },
  {
    sender: t.identity(),
    sent: t.timestamp(),
    text: t.string(),
  }
);

// The windows that are open, for nobody to see: who has two is online until both are closed.
const session = table(
  { name: 'session' },
  {
    id: t.connectionId().primaryKey(),
    identity: t.identity().index('btree'),
  }
);

const chat = schema({ user, message, session });
export default chat;

function checkName(name: string): string {
  const trimmed = name.trim();
  if (!trimmed) throw new SenderError('Names must not be empty');
  if (trimmed.length > NAME_LENGTH_MAX)
    throw new SenderError(`Names must not be longer than ${NAME_LENGTH_MAX} characters`);
  return trimmed;
}

function checkText(text: string): string {
  if (!text.trim()) throw new SenderError('Messages must not be empty');
  if (text.length > TEXT_LENGTH_MAX)
    throw new SenderError(`Messages must not be longer than ${TEXT_LENGTH_MAX} characters`);
  return text;
}

export const set_name = chat.reducer({ name: t.string() }, (ctx, { name }) => {
  const checked = checkName(name);
  const me = ctx.db.user.identity.find(ctx.sender);
  if (!me) throw new SenderError('Cannot set name for unknown user');
  ctx.db.user.identity.update({ ...me, name: checked });
});

export const send_message = chat.reducer({ text: t.string() }, (ctx, { text }) => {
  ctx.db.message.insert({ sender: ctx.sender, sent: ctx.timestamp, text: checkText(text) });
});

// Called once, when the database is made.
export const init = chat.init(() => {
  console.info('The chat is open.');
});

export const onConnect = chat.clientConnected(ctx => {
  ctx.db.session.insert({ id: ctx.connectionId!, identity: ctx.sender });
  const me = ctx.db.user.identity.find(ctx.sender);
  if (me) ctx.db.user.identity.update({ ...me, online: true });
  else ctx.db.user.insert({ identity: ctx.sender, name: undefined, online: true });
});

export const onDisconnect = chat.clientDisconnected(ctx => {
  ctx.db.session.id.delete(ctx.connectionId!);
  const me = ctx.db.user.identity.find(ctx.sender);
  const others = [...ctx.db.session.identity.filter(ctx.sender)];
  if (me) ctx.db.user.identity.update({ ...me, online: others.length > 0 });
  else console.warn(`Disconnect without a user: ${ctx.sender.toHexString()}`);
});
