// v1.mjs: messages of protocol v1, binary and JSON, for the end-to-end tests. Both decode into the same
// shapes; rows are hex in the one and JSON text in the other.
import assert from 'node:assert/strict';
import { Reader, option, rowList, w } from './support.mjs';

// ---- what a client says: the same names for both encodings

const set = (tag, request, id, ...queries) =>
  queries.reduce((out, q) => out.str(q), w().u8(tag).u32(queries.length)).u32(request).u32(id).done();

export const enc1 = {
  subscribe: (request, id, ...queries) => set(4, request, id, ...queries),
  single: (request, id, query) => w().u8(3).str(query).u32(request).u32(id).done(),
  legacy: (request, ...queries) =>
    queries.reduce((out, q) => out.str(q), w().u8(1).u32(queries.length)).u32(request).done(),
  unsubscribe: (request, id) => w().u8(6).u32(request).u32(id).done(),
  unsubscribeSingle: (request, id) => w().u8(5).u32(request).u32(id).done(),
  oneOff: (id, query) => w().u8(2).bytes(Buffer.from(id, 'hex')).str(query).done(),
  call: (request, reducer, args = Buffer.alloc(0), flags = 0) =>
    w().u8(0).str(reducer).bytes(args).u32(request).u8(flags).done(),
  procedure: (request, name, args = Buffer.alloc(0)) => w().u8(7).str(name).bytes(args).u32(request).u8(0).done(),
};

const said = message => Buffer.from(JSON.stringify(message));
export const json1 = {
  subscribe: (request, id, ...queries) =>
    said({ SubscribeMulti: { query_strings: queries, request_id: request, query_id: { id } } }),
  single: (request, id, query) => said({ SubscribeSingle: { query, request_id: request, query_id: { id } } }),
  legacy: (request, ...queries) => said({ Subscribe: { query_strings: queries, request_id: request } }),
  unsubscribe: (request, id) => said({ UnsubscribeMulti: { request_id: request, query_id: { id } } }),
  unsubscribeSingle: (request, id) => said({ Unsubscribe: { request_id: request, query_id: { id } } }),
  oneOff: (id, query) => said({ OneOffQuery: { message_id: id, query_string: query } }),
  // `args` is JSON text.
  call: (request, reducer, args = '[]', flags = 0) =>
    said({ CallReducer: { reducer, args, request_id: request, flags } }),
  procedure: (request, procedure, args = '[]') =>
    said({ CallProcedure: { procedure, args, request_id: request, flags: 0 } }),
};

// ---- what the server says

function table(r) {
  const out = { id: r.u32(), table: r.str(), count: Number(r.u64()) };
  out.rows = r.list(() => {
    assert.equal(r.u8(), 0, 'rows are not compressed');
    return { deletes: rowList(r), inserts: rowList(r) };
  });
  return out;
}
const tables = r => r.list(table);

function single(r) {
  const [id, name, one] = [r.u32(), r.str(), table(r)];
  assert.deepEqual([one.id, one.table], [id, name]);
  return [one];
}

function status(r) {
  switch (r.u8()) {
    case 0: return { ok: true, tables: tables(r) };
    case 1: return { failed: r.str() };
    case 2: return { outOfEnergy: true };
  }
  throw new Error('a status that is not one');
}

function binary(r) {
  const tag = r.u8();
  const answer = kind => ({ kind, request: r.u32(), duration: Number(r.u64()), set: r.u32() });
  switch (tag) {
    case 0: return { kind: 'initial-rows', tables: tables(r), request: r.u32(), duration: Number(r.i64()) };
    case 1:
      return {
        kind: 'transaction', ...status(r), timestamp: r.i64(), caller: r.hex(32), connection: r.hex(16), reducer: r.str(),
        reducerId: r.u32(), args: r.bytes().toString('hex'), request: r.u32(), energy: r.hex(16), duration: Number(r.i64()),
      };
    case 2: return { kind: 'light', request: r.u32(), tables: tables(r) };
    case 3: return { kind: 'initial', identity: r.hex(32), token: r.str(), connection: r.hex(16) };
    case 4:
      return {
        kind: 'rows', id: r.bytes().toString('hex'), error: option(r, x => x.str()) ?? undefined,
        tables: r.list(x => ({ table: x.str(), rows: rowList(x) })), duration: Number(r.i64()),
      };
    case 5: return { ...answer('subscribed-single'), tables: single(r) };
    case 6: return { ...answer('unsubscribed-single'), tables: single(r) };
    case 7: {
      const duration = Number(r.u64());
      const [request, set, tableId] = [0, 0, 0].map(() => option(r, x => x.u32()));
      return { kind: 'refused', request, set, tableId, error: r.str(), duration };
    }
    case 8: return { ...answer('subscribed'), tables: tables(r) };
    case 9: return { ...answer('unsubscribed'), tables: tables(r) };
    case 10: {
      const which = r.u8();
      const outcome = which === 0 ? { returned: r.bytes() } : which === 1 ? { outOfEnergy: true } : { internal: r.str() };
      return { kind: 'procedure', ...outcome, timestamp: r.i64(), duration: r.i64(), request: r.u32() };
    }
  }
  throw new Error('a message of no known kind');
}

const jsonTable = t => ({ id: t.table_id, table: t.table_name, count: t.num_rows, rows: t.updates });
const jsonTables = update => update.tables.map(jsonTable);
const some = option => ('some' in option ? option.some : null);
const micros = duration => duration.__time_duration_micros__;
const hexId = text => text.replace(/^0x/, '');

function jsonStatus(s) {
  if ('Committed' in s) return { ok: true, tables: jsonTables(s.Committed) };
  return 'Failed' in s ? { failed: s.Failed } : { outOfEnergy: true };
}

const bodies = {
  InitialSubscription: m => ({
    kind: 'initial-rows', tables: jsonTables(m.database_update), request: m.request_id, duration: micros(m.total_host_execution_duration),
  }),
  TransactionUpdate: m => ({
    kind: 'transaction', ...jsonStatus(m.status), timestamp: BigInt(m.timestamp.__timestamp_micros_since_unix_epoch__),
    caller: hexId(m.caller_identity.__identity__), reducer: m.reducer_call.reducer_name, reducerId: m.reducer_call.reducer_id,
    args: m.reducer_call.args, request: m.reducer_call.request_id, energy: m.energy_quanta_used.quanta,
    duration: micros(m.total_host_execution_duration),
  }),
  TransactionUpdateLight: m => ({ kind: 'light', request: m.request_id, tables: jsonTables(m.update) }),
  IdentityToken: m => ({ kind: 'initial', identity: hexId(m.identity.__identity__), token: m.token }),
  OneOffQueryResponse: m => ({
    kind: 'rows', id: m.message_id, error: some(m.error) ?? undefined,
    tables: m.tables.map(t => ({ table: t.table_name, rows: t.rows })), duration: micros(m.total_host_execution_duration),
  }),
  SubscribeApplied: m => jsonAnswer('subscribed-single', m, [jsonTable(m.rows.table_rows)]),
  UnsubscribeApplied: m => jsonAnswer('unsubscribed-single', m, [jsonTable(m.rows.table_rows)]),
  SubscribeMultiApplied: m => jsonAnswer('subscribed', m, jsonTables(m.update)),
  UnsubscribeMultiApplied: m => jsonAnswer('unsubscribed', m, jsonTables(m.update)),
  SubscriptionError: m => ({
    kind: 'refused', request: some(m.request_id), set: some(m.query_id), tableId: some(m.table_id), error: m.error,
    duration: m.total_host_execution_duration_micros,
  }),
  ProcedureResult: m => ({
    kind: 'procedure', ...('Returned' in m.status ? { returned: m.status.Returned } : { internal: m.status.InternalError }),
    timestamp: BigInt(m.timestamp.__timestamp_micros_since_unix_epoch__), request: m.request_id,
  }),
};
const jsonAnswer = (kind, m, list) => ({
  kind, request: m.request_id, duration: m.total_host_execution_duration_micros, set: m.query_id.id, tables: list,
});

// A payload without its compression tag.
export function decodeV1(payload, text) {
  if (text) {
    const message = JSON.parse(payload.toString());
    const [name, ...more] = Object.keys(message);
    assert.ok(bodies[name] && more.length === 0, `a message of no known kind: ${name}`);
    return Object.defineProperty(bodies[name](message[name]), 'text', { value: payload.toString() });
  }
  const r = new Reader(payload);
  const message = binary(r);
  assert.equal(r.left, 0, 'nothing follows a message');
  return message;
}
