// One of everything that the code generator has to spell.
import { schema, table, t } from 'spacetimedb/server';

const Position = t.object('Position', { x: t.f32(), y: t.f32() });
const Shape = t.enum('Shape', { Circle: t.f64(), rect: Position, nothing: t.unit() });
const Mood = t.enum('Mood', ['happy', 'sad']);

const player = table(
  {
    name: 'logged_out_player',
    public: true,
    indexes: [{ accessor: 'by_level', algorithm: 'btree', columns: ['level', 'teamId'] }],
  },
  {
    playerId: t.u64().primaryKey().autoInc(),
    identity: t.identity().unique(),
    level: t.u32(),
    teamId: t.i32().index('btree'),
    position: Position,
    shapes: t.array(Shape),
    mood: t.option(Mood),
    avatar: t.byteArray(),
    one_u8: t.u8(),
    big: t.u256(),
    at: t.scheduleAt(),
    took: t.timeDuration(),
    connection: t.connectionId(),
    uuid: t.uuid(),
  }
);

const hidden = table({ name: 'hidden' }, { id: t.u32().primaryKey(), secret: t.string() });
const moment = table({ name: 'moment', public: true, event: true }, { text: t.string() });

const spacetimedb = schema({ logged_out_player: player, hidden, moment });
export default spacetimedb;

export const add_player = spacetimedb.reducer(
  { level: t.u32(), position: Position, moods: t.array(Mood), raw: t.byteArray() },
  () => {}
);
export const doNothing = spacetimedb.reducer(() => {});
export const add = spacetimedb.procedure({ a: t.u64(), b: t.u64() }, t.u64(), (_ctx, { a, b }) => a + b);
export const locate = spacetimedb.procedure({ id: t.u64() }, Position, () => ({ x: 0, y: 0 }));
export const everyone = spacetimedb.anonymousView(
  { name: 'everyone', public: true },
  t.array(player.rowType),
  () => []
);
