// Databases as tools of a language model: over HTTP, for one database and for the server, and over stdio.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ask, moduleBundle, startServer } from './harness.mjs';

let server, token;
before(async () => {
  server = await startServer();
  await server.publish('chat', moduleBundle('chat'));
  await server.publish('second', moduleBundle('chat'));
  token = /Your auth token .* is (\S+)/.exec((await server.cli('login', 'show', '--token')).stdout)[1];
});
after(() => server?.end());

const post = (path, body, headers = {}) =>
  ask(server.url + path, { method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${token}`, ...headers }, body });

let next = 0;
async function rpc(path, method, params) {
  const id = `call-${++next}`;
  const { status, text } = await post(path, JSON.stringify({ jsonrpc: '2.0', id, method, params }));
  assert.equal(status, 200, text);
  const answer = JSON.parse(text);
  assert.equal(answer.jsonrpc, '2.0');
  assert.equal(answer.id, id);
  return answer;
}
async function tool(path, name, args) {
  const { result } = await rpc(path, 'tools/call', { name, arguments: args });
  assert.equal(result.content[0].type, 'text');
  return { text: result.content[0].text, failed: result.isError };
}
const one = '/v1/database/chat/mcp';

test('a program introduces itself and learns the tools', async () => {
  const { result } = await rpc(one, 'initialize', { protocolVersion: '2025-06-18' });
  assert.equal(result.protocolVersion, '2025-06-18');
  assert.equal(result.serverInfo.name, 'lightcone');
  assert.deepEqual((await rpc(one, 'ping')).result, {});
  const names = async path => (await rpc(path, 'tools/list')).result.tools.map(t => t.name);
  assert.deepEqual(await names(one), ['ping', 'get_schema', 'sql', 'call']);
  assert.deepEqual(await names('/v1/mcp'), ['list_databases', 'ping', 'get_schema', 'sql', 'call']);
  const all = (await rpc('/v1/mcp', 'tools/list')).result.tools;
  assert.deepEqual(all.find(t => t.name === 'sql').inputSchema.required, ['database', 'query']);
  assert.deepEqual(all.find(t => t.name === 'list_databases').inputSchema.required, []);
});

test('it reads the schema, calls, and sees in SQL what the call did', async () => {
  const schema = JSON.parse((await tool(one, 'get_schema')).text);
  assert.ok(schema.reducers.some(r => r.name === 'send_message'));
  assert.deepEqual(await tool(one, 'call', { name: 'send_message', args: ['written "by" a tool'] }), { text: 'Done', failed: false });
  const [answer] = JSON.parse((await tool(one, 'sql', { query: 'SELECT text FROM message' })).text);
  assert.deepEqual(answer.rows, [['written "by" a tool']]);
});

test('what a tool cannot do is its result, not an error of the protocol', async () => {
  const refused = await tool(one, 'call', { name: 'send_message', args: ['  '] });
  assert.equal(refused.failed, true);
  assert.match(refused.text, /Messages must not be empty/);
  assert.match((await tool(one, 'call', { name: 'nothing' })).text, /No such procedure/);
  assert.equal((await tool(one, 'sql', { query: 'SELECT FROM' })).failed, true);
});

test('the server as a whole: databases by name, wherever they live', async () => {
  const listed = JSON.parse((await tool('/v1/mcp', 'list_databases')).text);
  assert.equal(listed.length, 2);
  assert.deepEqual(await tool('/v1/mcp', 'ping', { database: 'second' }), { text: 'pong', failed: false });
  await tool('/v1/mcp', 'call', { database: 'second', name: 'send_message', args: { text: 'over there' } });
  for (const database of ['second', listed[1]]) {
    const { text, failed } = await tool('/v1/mcp', 'sql', { database, query: 'SELECT text FROM message' });
    assert.equal(failed, false, text);
  }
  assert.match((await tool('/v1/mcp', 'sql', { database: 'second', query: 'SELECT text FROM message' })).text, /over there/);
  assert.deepEqual(await tool('/v1/mcp', 'ping', { database: 'nowhere' }), { text: '`nowhere` not found', failed: true });
});

test('broken requests are answered as JSON-RPC and HTTP say', async () => {
  assert.equal((await rpc(one, undefined)).error.code, -32600);
  assert.equal((await rpc(one, 'tools/forget')).error.code, -32601);
  assert.equal((await rpc(one, 'tools/call', { name: 'nothing' })).error.code, -32602);
  assert.equal((await rpc(one, 'tools/call', { name: 'sql', arguments: {} })).error.code, -32602);
  assert.equal((await rpc('/v1/mcp', 'tools/call', { name: 'ping', arguments: {} })).error.code, -32602);
  assert.equal((await post(one, JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' }))).status, 202);
  assert.equal((await post(one, '{')).status, 400);
  assert.equal((await post(one, '[]')).status, 422);
  assert.equal((await post(one, '{}', { 'content-type': 'text/plain' })).status, 415);
  assert.equal((await post('/v1/database/nowhere/mcp', '{}')).status, 404);
});

test('others get what they may: no writing in SQL', async () => {
  const asked = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'sql', arguments: { query: 'DELETE FROM message' } } };
  const { text } = await ask(server.url + one, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(asked) });
  assert.equal(JSON.parse(text).result.isError, true);
  assert.match(JSON.parse(text).result.content[0].text, /not authorized/);
});

test('the command bridges stdin and stdout, a line each', async () => {
  const lines = [
    { jsonrpc: '2.0', id: 1, method: 'initialize' },
    { jsonrpc: '2.0', method: 'notifications/initialized' },
    { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'ping' } },
  ];
  const input = lines.map(line => JSON.stringify(line) + '\n').join('');
  const done = await server.cliWith({ input }, 'mcp', 'chat', '--server', server.url);
  assert.equal(done.code, 0);
  const answers = done.stdout.trim().split('\n').map(line => JSON.parse(line));
  assert.deepEqual(answers.map(a => a.id), [1, 2]);
  assert.match(done.stderr, /Serving MCP over stdio, bridging to http/);
});
