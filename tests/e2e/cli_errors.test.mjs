// Bad use reads well: every command, used wrongly in each way there is, and the exact text that it answers with.
//
// The list is tests/golden/cli_errors.txt. A line `other$ lightcone …` is a command in the situation `other` (below);
// what follows up to the next is its exit code and everything it prints. UPDATE=1 writes the file anew, for
// somebody to read before it is committed: each text has to say what was wrong, where, and what to do.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { moduleBundle, startServer, top } from './harness.mjs';

const file = join(top, 'tests/golden/cli_errors.txt');
let server, elsewhere, situations;

function directory(name, files) {
  const path = join(server.dir, name);
  mkdirSync(path, { recursive: true });
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(join(path, file, '..'), { recursive: true });
    writeFileSync(join(path, file), text);
  }
  return path;
}
const serverNamed = url => `default_server = "here"\n\n[[server_configs]]\nnickname = "here"\nhost = "${url.slice(7)}"\nprotocol = "http"\n`;

before(async () => {
  [server, elsewhere] = [await startServer(), await startServer()];
  const config = name => join(server.dir, `${name}.toml`);
  for (const name of ['mine', 'other', 'stranger']) writeFileSync(config(name), serverNamed(server.url));
  writeFileSync(config('alone'), serverNamed('http://127.0.0.1:9'));
  writeFileSync(config('nobody'), '');
  writeFileSync(config('garbled'), 'default_server = "here"\n[[server_configs\n');
  const run = (name, ...words) => server.cliWith({ config: config(name) }, ...words);
  for (const name of ['mine', 'other']) assert.equal((await run(name, 'login')).code, 0);
  // The token of another server, kept beside the address of this one.
  assert.equal((await run('stranger', 'login', '--server', elsewhere.url)).code, 0);
  const published = await run('mine', 'publish', 'ledger', '--js-path', moduleBundle('ledger'));
  assert.equal(published.code, 0, published.stderr);

  const project = '{ "database": "ledger" }';
  const source = 'export default 1;\n';
  situations = {
    '': {}, // logged in, the owner of `ledger`, in an empty directory
    other: { config: config('other') }, // somebody else
    stranger: { config: config('stranger') }, // with a token of another server
    alone: { config: config('alone') }, // no server answers
    nobody: { config: config('nobody') }, // no server is known
    garbled: { config: config('garbled') }, // cli.toml cannot be read
    project: { cwd: directory('project', { 'lightcone.json': project, 'src/index.ts': source, 'package.json': '{}' }) },
    broken: { cwd: directory('broken', { 'lightcone.json': '{ "database": ' }) },
    odd: { cwd: directory('odd', { 'lightcone.json': '{ "database": "ledger", "colour": "red" }', 'm.js': source }) },
    several: { cwd: directory('several', { 'lightcone.json': '{ "children": [{ "database": "one" }, { "database": "two" }] }' }) },
    bare: { cwd: directory('bare', { 'package.json': '{}' }) }, // half a module
    uninstalled: { cwd: directory('uninstalled', { 'package.json': '{ "dependencies": { "lightcone": "1" } }' }) },
    rust: { cwd: directory('rust', { 'Cargo.toml': '' }) },
    garbage: { cwd: directory('garbage', { 'm.js': 'this is no module', 'm.wasm': 'nor is this', 'full/file': '' }) },
  };
  const empty = directory('empty', {});
  for (const situation of Object.values(situations)) {
    situation.cwd ??= empty;
    situation.config ??= config('mine');
  }
});
after(async () => {
  await server?.end();
  await elsewhere?.end();
});

// What is different each time: where the server is, where the files are, who we are.
function plain(text) {
  return text
    .replaceAll(server.url, 'SERVER')
    .replaceAll(server.url.slice(7), 'HOST')
    .replaceAll(server.dir, 'DIR')
    .replaceAll(top, 'TOP')
    .replace(/\bc200[0-9a-f]{60}\b/g, 'IDENTITY')
    .replace(/\bc200[0-9a-f]{8}\b/g, 'IDENT')
    .replace(/[ \t]+$/gm, '')
    .trimEnd();
}

const wordsOf = line => [...line.matchAll(/'([^']*)'|(\S+)/g)].map(found => found[1] ?? found[2]);

async function answer(situation, line) {
  assert.ok(situations[situation], `there is no situation ${situation}`);
  const words = wordsOf(line).map(word => word.replace('SERVER', server.url).replace('DIR', server.dir));
  const done = await server.cliWith(situations[situation], ...words.slice(1));
  return { code: done.code, text: plain(`exit ${done.code}\n${done.stdout}${done.stderr}`) };
}

const entries = readFileSync(file, 'utf8')
  .split(/^(?=\w*\$ )/m)
  .filter(part => /^\w*\$ /.test(part))
  .map(part => {
    const [, situation, line, expected] = /^(\w*)\$ (.*)\n?([^]*)$/.exec(part);
    return { situation, line, expected: expected.trimEnd() };
  });

if (process.env.UPDATE)
  test('the list is written anew', async () => {
    let text = readFileSync(file, 'utf8').split(/^\w*\$ /m)[0];
    for (const { situation, line } of entries) text += `${situation}$ ${line}\n${(await answer(situation, line)).text}\n\n`;
    writeFileSync(file, text.trimEnd() + '\n');
  });
else
  for (const { situation, line, expected } of entries)
    test(`${situation}$ ${line}`, async () => {
      const { code, text } = await answer(situation, line);
      assert.equal(text, expected);
      assert.ok(code === 1 || code === 2, 'a mistake is one to a script as well');
      if (code === 2) assert.match(text, /Usage: lightcone |Run `lightcone start --help`/, 'who uses a command wrongly is told its usage');
    });

test('every command is in the list', async () => {
  const { stdout } = await server.cli('--help');
  const commands = [...stdout.split('Commands:\n')[1].split('\n\n')[0].matchAll(/^ {2}(\S+)/gm)].map(found => found[1]);
  const listed = new Set(entries.map(({ line }) => wordsOf(line)[1]));
  assert.deepEqual(commands.filter(name => !listed.has(name)), []);
});
