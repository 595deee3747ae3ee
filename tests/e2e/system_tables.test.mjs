// The system tables: ids, columns, keys, indexes and sequences are a contract, word for word
// (module-abi §4), and who is connected stands in two of them.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bundle, call, callOk, enc, http, newIdentity, published, rows, session, sql, startServer, until, w } from './support.mjs';

let server, ann, ben;
const open = [];

const bytes = 'Array<U8>';
const TABLES = {
  st_table: ['table_id U32, table_name String, table_type String, table_access String, table_primary_key Option<Array<U16>>', 'table_id'],
  st_column: ['table_id U32, col_pos U16, col_name String, col_type bytes'],
  st_sequence: ['sequence_id U32, sequence_name String, table_id U32, col_pos U16, increment I128, start I128, min_value I128, max_value I128, allocated I128', 'sequence_id'],
  st_index: ['index_id U32, table_id U32, index_name String, index_algorithm sum', 'index_id'],
  st_constraint: ['constraint_id U32, constraint_name String, table_id U32, constraint_data sum', 'constraint_id'],
  st_module: ['database_identity U256, owner_identity U256, program_kind U8, program_hash U256, program_bytes bytes, module_version String'],
  st_client: ['identity U256, connection_id U128'],
  st_var: ['name String, value sum', 'name'],
  st_scheduled: ['schedule_id U32, table_id U32, reducer_name String, schedule_name String, at_column U16', 'schedule_id'],
  st_row_level_security: ['table_id U32, sql String', 'sql'],
  st_connection_credentials: ['connection_id U128, jwt_payload String', 'connection_id'],
  st_view: ['view_id U32, view_name String, table_id Option<U32>, is_public Bool, is_anonymous Bool', 'view_id'],
  st_view_param: ['view_id U32, param_pos U16, param_name String, param_type bytes'],
  st_view_column: ['view_id U32, col_pos U16, col_name String, col_type bytes'],
  st_view_sub: ['view_id U32, arg_id U64, identity U256, num_subscribers U64, has_subscribers Bool, last_called I64'],
  st_view_arg: ['id U64, bytes bytes', 'id'],
  st_event_table: ['table_id U32', 'table_id'],
  st_table_accessor: ['table_name String, accessor_name String'],
  st_index_accessor: ['index_name String, accessor_name String'],
  st_column_accessor: ['table_name String, col_name String, accessor_name String'],
};
const CONSTRAINTS = `st_table_table_id_key st_table_table_name_key st_column_table_id_col_pos_key st_sequence_sequence_id_key
  st_index_index_id_key st_constraint_constraint_id_key st_client_identity_connection_id_key st_var_name_key
  st_scheduled_schedule_id_key st_scheduled_table_id_key st_row_level_security_sql_key st_connection_credentials_connection_id_key
  st_view_view_id_key st_view_view_name_key st_view_param_view_id_param_pos_key st_view_column_view_id_col_pos_key
  st_view_arg_id_key st_view_arg_bytes_key st_event_table_table_id_key st_table_accessor_table_name_key
  st_table_accessor_accessor_name_key st_index_accessor_index_name_key st_index_accessor_accessor_name_key
  st_column_accessor_table_name_col_name_key st_column_accessor_table_name_accessor_name_key`.split(/\s+/);
const INDEXES = `st_table_table_id st_table_table_name st_column_table_id_col_pos st_sequence_sequence_id st_index_index_id
  st_constraint_constraint_id st_client_identity_connection_id st_var_name st_scheduled_schedule_id st_scheduled_table_id
  st_row_level_security_table_id st_row_level_security_sql st_connection_credentials_connection_id st_view_view_id
  st_view_view_name st_view_param_view_id_param_pos st_view_column_view_id_col_pos st_view_sub_identity
  st_view_sub_has_subscribers st_view_sub_view_id_arg_id_identity st_view_arg_id st_view_arg_bytes st_event_table_table_id
  st_table_accessor_table_name st_table_accessor_accessor_name st_index_accessor_index_name
  st_index_accessor_accessor_name st_column_accessor_table_name_col_name
  st_column_accessor_table_name_accessor_name`.split(/\s+/);
const SEQUENCES = `st_table_table_id st_index_index_id st_constraint_constraint_id st_scheduled_schedule_id
  st_sequence_sequence_id st_view_view_id st_view_arg_id`.split(/\s+/);

const code = () =>
  bundle(`
    import { schema, table, t, SenderError } from 'spacetimedb/server';
    const person = table(
      { name: 'person', public: true, indexes: [{ accessor: 'byAge', algorithm: 'btree', columns: ['age', 'homeTown'] }] },
      { id: t.u64().primaryKey().autoInc(), name: t.string().unique(), age: t.u32(), homeTown: t.string() }
    );
    const zoo = table({ name: 'zoo' }, { id: t.u32() });
    const alarm = table(
      { name: 'alarm', scheduled: (): any => ring },
      { scheduledId: t.u64().primaryKey().autoInc(), scheduledAt: t.scheduleAt() }
    );
    const moment = table({ name: 'moment', public: true, event: true }, { text: t.string() });
    const gate = table({ name: 'gate' }, { closed: t.bool() });
    const db = schema({ person, zoo, alarm, moment, gate });
    export default db;
    export const ring = db.reducer({ arg: alarm.rowType }, () => {});
    export const close = db.reducer(ctx => { ctx.db.gate.insert({ closed: true }); });
    export const hello = db.clientConnected(ctx => {
      for (const _ of ctx.db.gate.iter()) throw new SenderError('closed');
    });
    export const bye = db.clientDisconnected(() => { throw new SenderError('never mind'); });
  `);

before(async () => {
  server = await startServer();
  [ann, ben] = [await newIdentity(server), await newIdentity(server)];
  await published(server, 'sys', code(), { token: ann.token });
});
after(async () => {
  for (const socket of open) socket.drop();
  await server?.end();
});

// Numbers of more than 53 bits, which JSON.parse would round, as texts.
async function exact(query) {
  const answer = await sql(server, 'sys', query, ann.token);
  assert.equal(answer.status, 200, answer.text);
  return JSON.parse(answer.text.replace(/([[,])(\d{16,})(?=[\],])/g, '$1"$2"'))[0].rows;
}

const ask = (query, who = ben) => rows(server, 'sys', query, who.token);
const some = value => ({ some: value });

// SATS-JSON's AlgebraicType of a column, as short as the lists above spell it.
function kind(type) {
  const [[tag, value]] = Object.entries(type);
  if (tag === 'Array') return kind(value) === 'U8' ? 'bytes' : `Array<${kind(value)}>`;
  if (tag !== 'Sum') return tag;
  const [first, second] = value.variants;
  return first.name.some === 'some' && second.name.some === 'none' ? `Option<${kind(first.algebraic_type)}>` : 'sum';
}

test('every system table has its id, its columns and its types', async () => {
  const described = await ask('SELECT * FROM st_table WHERE table_id < 4096');
  const columns = await ask('SELECT * FROM st_column WHERE table_id < 4096');
  assert.equal(described.length, 20);
  for (const [i, [name, [list, key]]] of Object.entries(TABLES).entries()) {
    const want = list.split(', ').map(column => column.split(' '));
    const position = key === undefined ? [1, []] : [0, [want.findIndex(([n]) => n === key)]];
    const access = name === 'st_connection_credentials' ? 'private' : 'public';
    assert.deepEqual(described.find(row => row[0] === i + 1), [i + 1, name, 'system', access, position], name);
    const answer = await sql(server, 'sys', `SELECT * FROM ${name}`, ann.token);
    assert.equal(answer.status, 200, answer.text);
    const elements = answer.json[0].schema.elements;
    assert.deepEqual(elements.map(e => [e.name.some, kind(e.algebraic_type)]), want, name);
    assert.deepEqual(
      columns.filter(row => row[0] === i + 1).map(([, at, column]) => [at, column]).sort((a, b) => a[0] - b[0]),
      want.map(([column], at) => [at, column])
    );
  }
});

test('their constraints, indexes and sequences have fixed ids and names', async () => {
  const named = async (table, id, name) =>
    (await ask(`SELECT * FROM ${table}`)).filter(row => row[0] < 4096).sort((a, b) => a[0] - b[0]).map(row => [row[id], row[name]]);
  assert.deepEqual(await named('st_constraint', 0, 1), CONSTRAINTS.map((name, i) => [i + 1, name]));
  assert.deepEqual(await named('st_index', 0, 2), INDEXES.map((name, i) => [i + 1, `${name}_idx_btree`]));
  assert.deepEqual(await named('st_sequence', 0, 1), SEQUENCES.map((name, i) => [i + 1, `${name}_seq`]));
  for (const [id, , table, column, increment, start] of await ask('SELECT * FROM st_sequence WHERE sequence_id < 4096')) {
    assert.ok(table > 0 && table <= 16 && column === 0 && id <= 7);
    assert.equal(BigInt(increment), 1n);
    assert.equal(BigInt(start), 4097n);
  }
});

test('a module’s own tables come in the order of their names, from 4096', async () => {
  const own = (await ask('SELECT * FROM st_table')).filter(([id]) => id >= 4096).sort((a, b) => a[0] - b[0]);
  assert.deepEqual(own.map(([, name, type, access]) => [name, type, access]), [
    ['alarm', 'user', 'private'], ['gate', 'user', 'private'], ['moment', 'user', 'public'], ['person', 'user', 'public'], ['zoo', 'user', 'private'],
  ]);
  assert.equal(own[0][0], 4096);
  const [person] = own.filter(row => row[1] === 'person');
  assert.deepEqual(person[4], [0, [0]]);
  const of = async (table, name) => (await ask(`SELECT ${name} FROM ${table} WHERE table_id = ${person[0]}`)).flat().sort();
  assert.deepEqual(await of('st_index', 'index_name'), ['person_age_home_town_idx_btree', 'person_id_idx_btree', 'person_name_idx_btree']);
  assert.deepEqual(await of('st_constraint', 'constraint_name'), ['person_id_key', 'person_name_key']);
  assert.deepEqual(await of('st_sequence', 'sequence_name'), ['person_id_seq']);
  assert.deepEqual(await of('st_column', 'col_name'), ['age', 'home_town', 'id', 'name']);
  assert.deepEqual(await ask('SELECT table_id FROM st_event_table'), own.filter(row => row[1] === 'moment').map(([id]) => [id]));
  const scheduled = await ask('SELECT * FROM st_scheduled');
  assert.equal(scheduled.length, 1);
  assert.deepEqual(scheduled[0].slice(1), [own[0][0], 'ring', 'alarm_sched', 1]);
  assert.ok(scheduled[0][0] >= 4096);
});

test('aliases are there for every table, column and index, also when they are no others', async () => {
  assert.deepEqual(await ask("SELECT accessor_name FROM st_table_accessor WHERE table_name = 'zoo'"), [['zoo']]);
  assert.deepEqual(await ask("SELECT accessor_name FROM st_column_accessor WHERE table_name = 'person' AND col_name = 'home_town'"), [['homeTown']]);
  assert.equal((await ask("SELECT * FROM st_column_accessor WHERE table_name = 'person'")).length, 4);
  const indexes = await ask('SELECT index_name FROM st_index WHERE index_id >= 4096');
  const aliases = await ask('SELECT index_name FROM st_index_accessor');
  assert.deepEqual(aliases.flat().sort(), indexes.flat().sort());
});

test('st_module has the program; credentials are for the owner’s eyes', async () => {
  const [[database, owner, kind, , program, version]] = await ask('SELECT * FROM st_module', ann);
  assert.ok(BigInt(database) > 0n);
  assert.equal(BigInt(owner), BigInt(`0x${ann.identity}`));
  assert.equal(kind, 1);
  assert.equal(Buffer.from(program, 'hex').toString(), code());
  assert.equal(version, '0.0.1');
  const refused = await sql(server, 'sys', 'SELECT * FROM st_connection_credentials', ben.token);
  assert.equal(refused.status, 400);
  assert.match(refused.text, /no such table: `st_connection_credentials`/);
});

test('who is connected stands in st_client, with the claims of the token beside', async () => {
  const socket = await session(server, 'sys', { protocols: ['v3.bsatn.spacetimedb'], token: ben.token });
  open.push(socket);
  const id = BigInt(`0x${ben.identity}`);
  const mine = async () => (await exact('SELECT * FROM st_client')).filter(([who]) => BigInt(who) === id);
  const [[, connection]] = await mine();
  const credentials = await exact(`SELECT jwt_payload FROM st_connection_credentials WHERE connection_id = ${connection}`);
  const claims = JSON.parse(credentials[0][0]);
  assert.equal(claims.hex_identity ?? ben.identity, ben.identity);
  assert.ok(claims.iss && claims.sub);
  // Subscriptions see them come and go; the rows go although the reducer fails.
  const watcher = await session(server, 'sys', { protocols: ['v3.bsatn.spacetimedb'], token: ann.token });
  open.push(watcher);
  watcher.say(enc.subscribe(1, 1, 'SELECT * FROM st_client'));
  assert.equal((await watcher.next()).tables[0].rows.length, 2);
  socket.drop();
  const gone = await watcher.next();
  assert.equal(gone.sets[0].tables[0].rows[0].deletes.length, 1);
  assert.equal((await mine()).length, 0);
  assert.equal((await exact('SELECT * FROM st_connection_credentials')).filter(([c]) => c === connection).length, 0);
});

test('a connection that is refused leaves nothing behind', async () => {
  await published(server, 'gated', code(), { token: ann.token });
  await callOk(server, 'gated', 'close', [], ben.token);
  const answer = await call(server, 'gated', 'close', [], ben.token);
  assert.equal(answer.status >= 400, true);
  assert.match(answer.text, /Connection rejected by `client_connected` reducer: closed/);
});
