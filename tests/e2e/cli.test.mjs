// Every command, used well and badly: what it prints where, and how it exits.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync, cpSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { lightcone, moduleBundle, startServer, temporaryDirectory, top, until } from './harness.mjs';

let server, ledger, chat, identity;
const unstable = 'WARNING: This command is UNSTABLE and subject to breaking changes.\n\n';
const run = (...words) => server.cli(...words);
const at = () => ['--server', server.url];

before(async () => {
  ledger = moduleBundle('ledger');
  chat = moduleBundle('chat');
  server = await startServer();
  identity = await server.publish('ledger', ledger);
});
after(async () => server?.end());

function good(done, stdout) {
  assert.equal(done.code, 0, done.stdout + done.stderr);
  if (stdout !== undefined) assert.equal(done.stdout, stdout);
  return done;
}
function bad(done, code, pattern) {
  assert.equal(done.code, code, done.stdout + done.stderr);
  assert.match(done.stderr, pattern);
}

test('a client that needs a newer Node than there is is not started, and dev says so', async () => {
  const cwd = temporaryDirectory('old-node');
  mkdirSync(join(cwd, 'bin'));
  mkdirSync(join(cwd, 'src'));
  writeFileSync(join(cwd, 'bin/node'), '#!/bin/sh\necho v18.20.8\n', { mode: 0o755 });
  writeFileSync(join(cwd, 'src/index.ts'), '');
  writeFileSync(join(cwd, 'lightcone.json'), '{ "database": "old-node" }');
  const dev = (wants, path = `${cwd}/bin`) => {
    writeFileSync(join(cwd, 'package.json'), JSON.stringify({ scripts: { dev: 'true' }, dependencies: { lightcone: '1' }, engines: { node: wants } }));
    return server.cliWith({ cwd, env: { PATH: path } }, 'dev');
  };
  bad(await dev('>=20.9'), 1, /needs Node\.js 20\.9 or newer \(engines in .*package\.json\), and `node` is 18\.20\. .*lightcone dev --server-only/);
  bad(await dev('>=18.21'), 1, /needs Node\.js 18\.21 or newer/);
  bad(await dev('>=20.9', '/nonexistent'), 1, /there is no `node` on the PATH/);
  for (const enough of ['>=18', '>=18.20', '^16', '*']) bad(await dev(enough), 1, /are not installed/);
  rmSync(cwd, { recursive: true });
});

test('without a command the usage is shown and the exit code is 2', async () => {
  bad(await run(), 2, /Usage: lightcone <command>/);
  bad(await run('dance'), 2, /unrecognized subcommand 'dance'/);
  assert.match(good(await run('--help')).stdout, /publish .*\n/);
  assert.match(good(await run('--version')).stdout, /^lightcone \d/);
  assert.match(good(await run('version')).stdout, /Path: .*lightcone/);
});

test('every command has a help text with an example', async () => {
  const { stdout } = good(await run('--help'));
  const commands = [...stdout.split('Commands:\n')[1].split('\n\n')[0].matchAll(/^ {2}(\S+)/gm)].map(m => m[1]);
  assert.ok(commands.length >= 15);
  for (const command of commands) {
    const help = good(await run(command, '--help')).stdout;
    assert.match(help, new RegExp(`Usage: lightcone ${command}`), command);
    assert.match(help, /Example/, command);
  }
});

test('wrong options are answered with the usage and 2', async () => {
  bad(await run('sql', '--frobnicate'), 2, /unexpected argument '--frobnicate' found\n\nUsage: lightcone sql/);
  bad(await run('logs', '--num-lines'), 2, /a value is required for '--num-lines <N>'/);
  bad(await run('logs', '-n', 'many', 'ledger'), 2, /invalid value 'many'/);
  bad(await run('call'), 2, /required arguments were not provided:\n {2}<database>/);
  bad(await run('call', 'ledger'), 2, /<function_name>/);
  bad(await run('sql', 'ledger'), 2, /<query>/);
  bad(await run('sql', 'ledger', 'SELECT 1', '--confirmed', 'perhaps'), 2, /say true or false/);
});

test('a server that is not there is named', async () => {
  bad(await run('list', '--server', 'http://127.0.0.1:9'), 1, /Could not reach the server/);
  bad(await run('list', '--server', 'nowhere'), 1, /No such saved server configuration: nowhere\nAdd a new/);
});

test('login, identity and logout', async () => {
  const config = join(server.dir, 'login.toml');
  const mine = (...words) => server.cliWith({ config }, ...words);
  good(await mine('login', 'show'), 'You are not logged in. Run `lightcone login` to log in.\n');
  good(await mine('logout'), 'You are not logged in.\n');
  const login = good(await mine('login', '--server-issued-login', server.url));
  const who = /Logged in with identity (c200[0-9a-f]{60})/.exec(login.stdout)[1];
  assert.match(login.stderr, /Saving config to .*login.toml\./);
  good(await mine('login', 'show'), `You are logged in as ${who}\n`);
  good(await mine('identity'), `You are logged in as ${who}\n`);
  const shown = good(await mine('login', 'show', '--token')).stdout;
  const token = /don't share this!\) is (\S+)/.exec(shown)[1];
  good(await mine('logout'), `Logged out (identity ${who}).\n`);
  good(await mine('login', '--token', token), `Logged in with identity ${who}\n`);
  good(await mine('login', '--token', 'nonsense'), 'Token saved.\n');
  bad(await mine('list', ...at()), 1, /./);
  bad(await mine('login', '--token', 'a', '--server-issued-login', server.url), 2, /cannot be used with/);
});

test('cli.toml keeps what it does not understand', async () => {
  const config = join(server.dir, 'kept.toml');
  writeFileSync(config, '# my note\nfuture = 7\n\n[[server_configs]]\nnickname = "mine"\nhost = "127.0.0.1:1"\nprotocol = "http"\nodd = true\n');
  good(await server.cliWith({ config }, 'server', 'set-default', 'mine'));
  const text = readFileSync(config, 'utf8');
  for (const line of ['# my note', 'future = 7', 'odd = true', 'default_server = "mine"']) assert.ok(text.includes(line));
});

test('server list, add, ping, fingerprint, remove', async () => {
  const config = join(server.dir, 'servers.toml');
  const mine = (...words) => server.cliWith({ config }, 'server', ...words);
  assert.match(good(await mine('list')).stdout, /^\s*\*\*\*\s+127\.0\.0\.1:3000\s+http\s+local\s*$/m);
  const added = good(await mine('add', 'here', '--url', server.url));
  assert.match(added.stdout, /got fingerprint:\n-----BEGIN PUBLIC KEY-----/);
  assert.match(added.stdout, /Host: 127\.0\.0\.1:\d+\nProtocol: http\n$/);
  assert.equal((await mine('list')).stderr, unstable);
  good(await mine('ping', 'here'), `Server is online: ${server.url}\n`);
  bad(await mine('add', 'here', '--url', 'http://other:1', '--no-fingerprint'), 1, /nickname here already in use/);
  bad(await mine('add', 'again', '--url', server.url), 1, /already configured for host/);
  bad(await mine('add', 'dead', '--url', 'http://127.0.0.1:9'), 1, /Unable to retrieve fingerprint/);
  assert.match(good(await mine('fingerprint', 'here')).stdout, /Fingerprint is unchanged for server here/);
  good(await mine('edit', 'here', '--new-name', 'there', '--yes'));
  good(await mine('set-default', 'there'));
  good(await mine('remove', 'there'));
  bad(await mine('ping', 'there'), 1, /No such saved server/);
  bad(await mine('juggle'), 2, /unrecognized subcommand 'juggle'/);
});

test('publish says what it did and gives the identity', async () => {
  const first = good(await run('publish', 'published', '--js-path', ledger, ...at(), '--yes'));
  assert.match(first.stdout, /\(JS\) Skipping build\. Instead we are publishing .*bundle\.js/);
  assert.match(first.stdout, /Created new database with name: published, identity: [0-9a-f]{64}\n$/);
  const again = good(await run('publish', 'published', '--js-path', ledger, ...at()));
  assert.match(again.stdout, /Checking for breaking changes\.\.\./);
  assert.match(again.stdout, /Updated database with name: published, identity: [0-9a-f]{64}\n$/);
  const nameless = good(await run('publish', '--js-path', ledger, ...at(), '--yes'));
  assert.match(nameless.stdout, /Created new database with identity: [0-9a-f]{64}\n$/);
});

test('publish refuses names and files that cannot be', async () => {
  bad(await run('publish', 'Bad_Name', '--js-path', ledger, ...at()), 1, /invalid database name `Bad_Name`/);
  bad(await run('publish', 'x', '--js-path', '/no/such.js', ...at()), 1, /no such file/);
  bad(await run('publish', 'x', '--js-path', ledger, '--bin-path', ledger, ...at()), 2, /use only one of/);
  const broken = join(server.dir, 'broken.js');
  writeFileSync(broken, 'this is not JavaScript');
  bad(await run('publish', 'broken', '--js-path', broken, ...at(), '--yes'), 1, /Error: /);
});

test('a change that needs hands is refused, and --delete-data starts over', async () => {
  good(await run('publish', 'changing', '--js-path', ledger, ...at(), '--yes'));
  good(await run('call', 'changing', 'append', '1', '1', 'x', ...at()));
  const source = readFileSync(join(top, 'tests/modules/ledger/src/index.ts'), 'utf8');
  const dir = temporaryDirectory('changed');
  cpSync(join(top, 'tests/modules/ledger/package.json'), join(dir, 'package.json'));
  cpSync(join(top, 'tests/modules/ledger/tsconfig.json'), join(dir, 'tsconfig.json'));
  symlinkSync(join(top, 'build/tools/node_modules'), join(dir, 'node_modules'));
  mkdirSync(join(dir, 'src'));
  writeFileSync(join(dir, 'src/index.ts'), source.replace('round: t.u32(), text: t.string() }\n);', 'round: t.string() }\n);').replace(/entry\.insert\(\{ id, round, text \}\)/, 'entry.insert({ id, round: text })').replace("insert({ id, round: 0, text: 'must not stay' })", "insert({ id, round: 'x' })"));
  good(await run('build', '-p', dir));
  const changed = join(dir, 'dist/bundle.js');
  bad(await run('publish', 'changing', '--js-path', changed, ...at(), '--yes'), 1, /manual migration/);
  const aborted = await run('publish', 'changing', '--js-path', changed, ...at(), '--delete-data');
  bad(aborted, 1, /Error: Aborted\./);
  assert.match(aborted.stdout, /This will DESTROY the current changing module/);
  const yes = await server.cliWith({ input: 'y\n' }, 'publish', 'changing', '--js-path', changed, ...at(), '-c');
  assert.match(good(yes).stdout, /Updated database with name: changing/);
  assert.deepEqual(await server.sql('changing', 'SELECT * FROM entry'), []);
});

test('call runs a reducer silently and explains what is wrong', async () => {
  const done = good(await run('call', 'ledger', 'append', '77', '7', 'from the command', ...at()), '');
  assert.equal(done.stderr, unstable);
  bad(await run('call', 'ledger', 'append', '1', ...at()), 1,
    /^WARNING: .*\n\nError: Invalid arguments provided for reducer `append` for database `ledger` resolving to identity `[0-9a-f]{64}`\.\n\n3 parameters were expected, but 1 was provided\.\n\nThe reducer has the following signature:\n\tappend\(id: u64, round: u32, text: String\)\n$/);
  bad(await run('call', 'ledger', 'append', '1', '2', 'three', 'four', ...at()), 1, /3 parameters were expected, but 4 were provided\./);
  bad(await run('call', 'ledger', 'apend', ...at()), 1,
    /No such reducer OR procedure `apend` for database `ledger`.*\n\nA reducer with a similar name exists: `append`\n$/);
  bad(await run('call', 'ledger', 'zzzzzzzz', ...at()), 1,
    /Here are some existing reducers:\n- .*[^]*The database has no procedures\./);
  bad(await run('call', 'ledger', 'fail_half_way', '5', ...at()), 1,
    /Error: Response text: changed my mind\n\nCaused by:\n {4}HTTP status server error \(530 .*\) for url/);
  bad(await run('call', 'no-such-db', 'append', ...at()), 1, /failed to find database `no-such-db`\./);
});

test('sql prints tables, JSON, and errors', async () => {
  good(await run('call', 'ledger', 'append', '900', '90', 'a "quoted" text', ...at()));
  const table = good(await run('sql', 'ledger', 'SELECT * FROM entry WHERE id = 900', ...at()));
  assert.equal(table.stderr, unstable);
  assert.deepEqual(table.stdout.split('\n').map(line => line.trimEnd()), [
    ' id  | round | text',
    '-----+-------+---------------------',
    ' 900 | 90    | "a \\"quoted\\" text"',
    '',
  ]);
  const none = good(await run('sql', 'ledger', 'SELECT', '*', 'FROM', 'entry', 'WHERE', 'id = 1000000', ...at()));
  assert.equal(none.stdout.split('\n').length, 3);
  const json = JSON.parse(good(await run('sql', '--format', 'json', 'ledger', 'SELECT * FROM entry WHERE id = 900', ...at())).stdout);
  assert.deepEqual(json[0].rows, [[900, 90, 'a "quoted" text']]);
  bad(await run('sql', 'ledger', 'SELECT * FROM nothing', ...at()), 1, /Error: [^]*nothing/);
  bad(await run('sql', 'ledger', 'SELEKT', ...at()), 1, /Error: /);
  const asked = await server.cliWith({ input: 'SELECT * FROM entry WHERE id = 900\nnonsense\n.exit\n' }, 'sql', '-i', 'ledger', ...at());
  assert.match(good(asked).stdout, /\(1 row\) \[server: /);
  assert.match(asked.stderr, /Error: /);
});

test('what a failed reducer did is not there', async () => {
  await run('call', 'ledger', 'fail_half_way', '4242', ...at());
  assert.deepEqual(await server.sql('ledger', 'SELECT * FROM entry WHERE id = 4242'), []);
});

test('private tables are for the owner', async () => {
  good(await run('call', 'ledger', 'tell_secret', 'psst', ...at()));
  assert.match(good(await run('sql', 'ledger', 'SELECT * FROM secret', ...at())).stdout, /"psst"/);
  bad(await run('sql', '--anonymous', 'ledger', 'SELECT * FROM secret', ...at()), 1, /Error: /);
});

test('logs shows what modules say, filtered and followed', async () => {
  good(await run('call', 'ledger', 'log_something', 'the milk', ...at()));
  const all = good(await run('logs', 'ledger', ...at())).stdout;
  assert.match(all, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z {2}INFO: .*the milk$/m);
  assert.match(all, /Z {2}WARN: .*careful: the milk$/m);
  const warnings = good(await run('logs', 'ledger', '-l', 'warn', ...at())).stdout;
  assert.doesNotMatch(warnings, / INFO: /);
  const last = good(await run('logs', 'ledger', '-n', '1', '--format', 'json', ...at())).stdout;
  assert.equal(JSON.parse(last).level, 'Warn');
  bad(await run('logs', 'ledger', '-l', 'loud', ...at()), 2, /invalid value 'loud'/);
  await run('call', 'ledger', 'throw_error', ...at());
  assert.match(good(await run('logs', 'ledger', '-l', 'error', ...at())).stdout, /this is a bug/);
  const follow = spawn(lightcone, ['--config-path', join(server.dir, 'cli.toml'), 'logs', 'ledger', '-f', '-n', '1', ...at()]);
  let heard = '';
  follow.stdout.on('data', text => (heard += text));
  await until(() => heard !== '', 'the last line');
  good(await run('call', 'ledger', 'log_something', 'live', ...at()));
  await until(() => heard.includes('careful: live'), 'the new line');
  follow.kill('SIGINT');
  const stranger = join(server.dir, 'stranger.toml');
  bad(await server.cliWith({ config: stranger }, 'logs', 'ledger', ...at()), 1, /not authorized/);
});

test('describe prints the definition', async () => {
  const whole = JSON.parse(good(await run('describe', '--json', 'ledger', ...at())).stdout);
  assert.ok(Array.isArray(whole.sections));
  const table = JSON.parse(good(await run('describe', '--json', 'ledger', 'table', 'entry', ...at())).stdout);
  assert.equal(table.source_name, 'entry');
  const reducer = JSON.parse(good(await run('describe', '--json', 'ledger', 'reducer', 'append', ...at())).stdout);
  assert.equal(reducer.source_name, 'append');
  bad(await run('describe', '--json', 'ledger', 'table', 'nope', ...at()), 1, /no such table/);
  bad(await run('describe', '--json', 'ledger', 'reducer', 'nope', ...at()), 1, /no such reducer/);
  bad(await run('describe', 'ledger', ...at()), 2, /--json/);
});

test('list, rename, lock, unlock and delete', async () => {
  const hex = await server.publish('short-lived', ledger);
  assert.match(good(await run('list', ...at())).stdout, new RegExp(`short-lived +\\| ${hex}`));
  good(await run('rename', '--to', 'renamed', hex, ...at()), `Name set to renamed for identity ${hex}.\n`);
  good(await run('lock', 'renamed', ...at()), `Database ${hex} is now locked. It cannot be deleted until unlocked.\n`);
  bad(await run('delete', 'renamed', '--yes', ...at()), 1, /^(?!.*another identity).*locked and cannot be deleted/s);
  good(await run('unlock', 'renamed', ...at()), `Database ${hex} is now unlocked.\n`);
  const no = good(await run('delete', 'renamed', ...at()));
  assert.match(no.stdout, /This action cannot be undone\. \[y\/N\]\nAborting\n$/);
  const stranger = join(server.dir, 'stranger.toml');
  bad(await server.cliWith({ config: stranger }, 'delete', 'renamed', '--yes', ...at()), 1, /403 Forbidden/);
  good(await run('delete', 'renamed', '--yes', ...at()));
  bad(await run('sql', 'renamed', 'SELECT * FROM entry', ...at()), 1, /No such database|failed to find/);
});

test('generate writes bindings once, removes stale ones on demand, and is deterministic', async () => {
  const out = join(temporaryDirectory('generated'), 'module_bindings');
  const generate = (...words) => run('generate', '--lang', 'typescript', '--sdk', 'spacetimedb', '--out-dir', out, '--js-path', chat, ...words);
  const first = good(await generate());
  assert.match(first.stdout, /Writing file .*index\.ts/);
  assert.match(first.stdout, /Generate finished successfully\.\n$/);
  const text = readFileSync(join(out, 'index.ts'), 'utf8');
  assert.ok(text.startsWith('// THIS FILE IS AUTOMATICALLY GENERATED BY SPACETIMEDB. EDITS TO THIS FILE\n'));
  assert.doesNotMatch(good(await generate()).stdout, /Writing file/);
  writeFileSync(join(out, 'old_table.ts'), text);
  writeFileSync(join(out, 'mine.ts'), 'export {};\n');
  assert.match(good(await generate()).stdout, /will be deleted:\n {2}.*old_table\.ts\n.*\[y\/N\]\nFiles not deleted\./);
  assert.match(good(await generate('--yes')).stdout, /Files deleted successfully\./);
  assert.ok(!existsSync(join(out, 'old_table.ts')) && existsSync(join(out, 'mine.ts')));
  bad(await run('generate', '--sdk', 'jquery', '-o', out, '-j', chat), 2, /say lightcone or spacetimedb/);
  bad(await run('generate', '--lang', 'cobol', '-o', out, '-j', chat), 2, /invalid value 'cobol'/);
  bad(await run('generate', '--lang', 'rust', '-o', out, '-j', chat), 1, /not supported yet/);
});

test('extract-schema prints the definition with its version', async () => {
  const schema = JSON.parse(good(await run('extract-schema', chat)).stdout);
  assert.ok(Array.isArray(schema.V10.sections));
  const broken = join(server.dir, 'not-a-module.js');
  writeFileSync(broken, 'export default 1;');
  bad(await run('extract-schema', broken), 1, /Error: /);
});

test('build checks types, bundles, and explains what is missing', async () => {
  const dir = temporaryDirectory('build');
  bad(await run('build', '-p', join(dir, 'nowhere')), 1, /Fatal Error: path .* does not exist/);
  bad(await server.cliWith({ cwd: dir }, 'build'), 1, /Could not find a SpacetimeDB module/);
  bad(await run('build', '-p', dir), 1, /Could not detect the language/);
  writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
  bad(await run('build', '-p', dir), 1, /There is no src\/index\.ts/);
  symlinkSync(join(top, 'build/tools/node_modules'), join(dir, 'node_modules'));
  cpSync(join(top, 'tests/modules/ledger/tsconfig.json'), join(dir, 'tsconfig.json'));
  mkdirSync(join(dir, 'src'));
  const write = text => writeFileSync(join(dir, 'src/index.ts'), text);
  write('export const x: number = "no";\n');
  const types = await run('build', '-p', dir);
  assert.notEqual(types.code, 0);
  assert.match(types.stderr, /error TS2322/);
  write('export const x = 1;\n');
  bad(await run('build', '-p', dir), 1, /doesn't import `lightcone\/server` or `spacetimedb\/server` at all/);
  write("import { schema } from 'spacetimedb/server';\nexport const s = schema({});\n");
  bad(await run('build', '-p', dir), 1, /haven't exported your schema/);
  write("import { schema } from 'spacetimedb/server';\nexport default schema({});\n");
  good(await run('build', '-p', dir), 'Build finished successfully.\n');
  const first = readFileSync(join(dir, 'dist/bundle.js'));
  good(await run('build', '-p', dir));
  assert.deepEqual(readFileSync(join(dir, 'dist/bundle.js')), first, 'the same source, the same bytes');
});

test('a project file names the database', async () => {
  const dir = temporaryDirectory('project');
  const project = value => writeFileSync(join(dir, 'lightcone.json'), value);
  const here = (...words) => server.cliWith({ cwd: dir }, ...words);
  project(`{ // comments are fine\n "database": "ledger", "server": "${server.url}", "js-path": "${ledger}", }`);
  assert.match(good(await here('sql', 'SELECT * FROM total')).stdout, /count/);
  good(await here('call', 'append', '5555', '5', 'by project'), '');
  const published = good(await here('publish', '--yes'));
  assert.match(published.stdout, /Using configuration from .*lightcone\.json/);
  assert.match(published.stdout, /Publishing precompiled module to database 'ledger'/);
  assert.match(published.stdout, /Updated database with name: ledger/);
  project(`{"database": "a", "children": [{"database": "b"}]}`);
  bad(await here('sql', 'c', ...at()), 1, /Multiple databases found in config: a, b\./);
  project('{');
  bad(await here('sql', 'SELECT 1'), 1, /Failed to parse config file .*lightcone\.json/);
  project('{"database": "a", "colour": "red"}');
  bad(await here('publish', '--yes', ...at()), 1, /Config key 'colour' is not supported/);
});

test('the identity in place of a name does as well', async () => {
  assert.match(good(await run('sql', identity, 'SELECT * FROM total', ...at())).stdout, /count/);
});

test('publishing shows how long the server takes, on a terminal and in a log', async () => {
  const slow = createServer(async (request, response) => {
    for await (const _ of request);
    if (request.url.includes('/pre_publish')) {
      response.writeHead(404).end('`slow` not found');
      return;
    }
    assert.match(request.url, /num_replicas=2/);
    setTimeout(() => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ Success: { domain: 'slow', database_identity: 'c2'.repeat(32), op: 'created' } }));
    }, 4500);
  });
  await new Promise(resolve => slow.listen(0, '127.0.0.1', resolve));
  const wasm = join(server.dir, 'slow.wasm');
  writeFileSync(wasm, '\0asm');
  const words = [lightcone, '--config-path', join(server.dir, 'slow.toml'), 'publish', 'slow', '--bin-path', wasm, '--anonymous',
    '--num-replicas', '2', '--server', `http://127.0.0.1:${slow.address().port}`];
  const all = async stream => {
    let said = '';
    for await (const piece of stream.setEncoding('utf8')) said += piece;
    return said;
  };
  const terminal = spawn('script', ['-qec', words.join(' '), '/dev/null'], { stdio: ['ignore', 'pipe', 'inherit'], cwd: server.dir });
  const log = spawn(words[0], words.slice(1), { stdio: ['ignore', 'ignore', 'pipe'], cwd: server.dir });
  const [said, logged] = await Promise.all([all(terminal.stdout), all(log.stderr)]);
  slow.close();
  assert.match(logged, /\nCompiling on the server … [34] s\n$/);
  assert.match(said, /\(WASM\) Skipping build\. Instead we are publishing .*slow\.wasm/);
  assert.match(said, /\r\x1b\[KCompiling on the server … [1-4] s\r\x1b\[K/);
  assert.match(said, /Created new database with name: slow, identity: (c2){32}/);
});
