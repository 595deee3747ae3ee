// The game's rules. Clients only say where they want to go; thirty times a second `tick` moves everybody, so that
// nobody is faster than the rules allow, whatever their client sends.
import { ScheduleAt } from 'lightcone';
import { schema, SenderError, t, table } from 'lightcone/server';

const WIDTH = 1600;
const HEIGHT = 900;
const SPEED = 320; // a second
const REACH = 34; // how near a star must be to be collected
const STARS = 12;
const TICK_MS = 33;

const player = table(
  { name: 'player', public: true },
  {
    identity: t.identity().primaryKey(),
    hue: t.u16(),
    x: t.f32(),
    y: t.f32(),
    dx: t.f32(), // the direction, each from -1 to 1
    dy: t.f32(),
    score: t.u32(),
    windows: t.u32(), // that are open: a page that is loaded again may come before it leaves
  }
);

const star = table(
  { name: 'star', public: true },
  { id: t.u64().primaryKey().autoInc(), x: t.f32(), y: t.f32() }
);

// A row here is a call of `tick`, at the time that it says.
const clock = table(
  { name: 'clock', scheduled: (): any => tick },
  { id: t.u64().primaryKey().autoInc(), at: t.scheduleAt() }
);

const db = schema({ player, star, clock });
export default db;

const clamp = (value: number, max: number) => Math.min(Math.max(value, 0), max);

export const init = db.init(ctx => {
  ctx.db.clock.insert({ id: 0n, at: ScheduleAt.interval(BigInt(TICK_MS) * 1000n) });
  for (let i = 0; i < STARS; i++) ctx.db.star.insert({ id: 0n, x: ctx.random() * WIDTH, y: ctx.random() * HEIGHT });
});

export const on_connect = db.clientConnected(ctx => {
  const me = ctx.db.player.identity.find(ctx.sender);
  if (me) {
    ctx.db.player.identity.update({ ...me, windows: me.windows + 1 });
    return;
  }
  ctx.db.player.insert({
    identity: ctx.sender,
    hue: Math.floor(ctx.random() * 360),
    x: WIDTH / 2 + (ctx.random() - 0.5) * 400,
    y: HEIGHT / 2 + (ctx.random() - 0.5) * 400,
    dx: 0,
    dy: 0,
    score: 0,
    windows: 1,
  });
});

export const on_disconnect = db.clientDisconnected(ctx => {
  const me = ctx.db.player.identity.find(ctx.sender);
  if (me && me.windows > 1) ctx.db.player.identity.update({ ...me, windows: me.windows - 1 });
  else ctx.db.player.identity.delete(ctx.sender);
});

export const steer = db.reducer({ dx: t.f32(), dy: t.f32() }, (ctx, { dx, dy }) => {
  const me = ctx.db.player.identity.find(ctx.sender);
  if (!me) throw new SenderError('You are not in the game');
  if (!Number.isFinite(dx) || !Number.isFinite(dy)) throw new SenderError('Say a direction');
  const length = Math.max(1, Math.hypot(dx, dy));
  ctx.db.player.identity.update({ ...me, dx: dx / length, dy: dy / length });
});

export const tick = db.reducer({ call: clock.rowType }, ctx => {
  const stars = [...ctx.db.star.iter()];
  for (const one of ctx.db.player.iter()) {
    if (one.dx === 0 && one.dy === 0) continue; // who stands still costs nothing
    const step = (SPEED * TICK_MS) / 1000;
    const x = clamp(one.x + one.dx * step, WIDTH);
    const y = clamp(one.y + one.dy * step, HEIGHT);
    const found = stars.filter(each => Math.hypot(each.x - x, each.y - y) < REACH);
    for (const each of found)
      ctx.db.star.id.update({ ...each, x: ctx.random() * WIDTH, y: ctx.random() * HEIGHT });
    ctx.db.player.identity.update({ ...one, x, y, score: one.score + found.length });
  }
});
