// The Debian package: what is in it, that its programs run, that its service file is one. It is
// unpacked, not installed: the machine that tests stays as it is.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ask, temporaryDirectory, top, until } from './harness.mjs';

const dir = temporaryDirectory('deb');
let file;

const run = (command, ...words) => execFileSync(command, words, { encoding: 'utf8', cwd: top });

before(() => {
  file = join(top, run(join(top, 'tools/deb')).trim().split('\n').at(-1));
  run('dpkg-deb', '-R', file, dir);
});
after(() => rmSync(dir, { recursive: true, force: true }));

test('the package names the libraries it needs and keeps the administrator\'s file', () => {
  const control = readFileSync(join(dir, 'DEBIAN/control'), 'utf8');
  for (const library of ['libc6', 'libcurl4', 'libjavascriptcoregtk-4.1-0', 'libssl3', 'libjansson4'])
    assert.match(control, new RegExp(`^Depends: .*\\b${library.replaceAll('.', '\\.')}\\b`, 'm'));
  assert.match(control, /^Version: \d+\.\d+\.\d+$/m);
  assert.equal(readFileSync(join(dir, 'DEBIAN/conffiles'), 'utf8'), '/etc/default/lightcone\n');
  for (const script of ['postinst', 'prerm', 'postrm']) run('sh', '-n', join(dir, 'DEBIAN', script));
});

test('the service starts the server as the default file says', async () => {
  const unit = readFileSync(join(dir, 'lib/systemd/system/lightcone.service'), 'utf8');
  const settings = Object.fromEntries(
    readFileSync(join(dir, 'etc/default/lightcone'), 'utf8')
      .split('\n')
      .filter(line => /^[A-Z]+=/.test(line))
      .map(line => line.split(/=(.*)/s).slice(0, 2))
  );
  assert.equal(settings.LISTEN, '127.0.0.1:3000');
  const state = join(dir, 'state');
  const words = /^ExecStart=(.*)$/m
    .exec(unit)[1]
    .replaceAll('/usr/bin/lightcone', join(dir, 'usr/bin/lightcone'))
    .replaceAll('/var/lib/lightcone', state)
    .replace('${LISTEN}', '127.0.0.1:0')
    .replace('$OPTIONS', settings.OPTIONS)
    .split(' ')
    .filter(Boolean);
  const child = spawn(words[0], words.slice(1), { env: { PATH: process.env.PATH } });
  let said = '';
  child.stdout.on('data', text => (said += text));
  child.stderr.on('data', text => (said += text));
  try {
    const port = await until(() => /listening on 127\.0\.0\.1:(\d+)/.exec(said)?.[1], 'the server');
    assert.equal((await ask(`http://127.0.0.1:${port}/v1/ping`)).status, 200);
    child.kill('SIGHUP');  // systemctl reload
    await until(() => said.includes('there is no certificate to read again'), 'the answer to SIGHUP');
    assert.equal((await ask(`http://127.0.0.1:${port}/v1/ping`)).status, 200);
  } finally {
    child.kill('SIGTERM');
  }
  assert.equal(await new Promise(resolve => child.on('exit', resolve)), 0);
  assert.ok(existsSync(join(state, 'data')));
});

test('a module in C is built with the files of the package', () => {
  const lightcone = join(dir, 'usr/bin/lightcone');
  run(lightcone, '--root-dir', join(dir, 'user'), 'init', '--lang', 'c', '--project-path', join(dir, 'game'), 'game');
  const module = existsSync(join(dir, 'game/spacetimedb')) ? join(dir, 'game/spacetimedb') : join(dir, 'game');
  run(lightcone, '--root-dir', join(dir, 'user'), 'build', '-p', module);
  assert.ok(existsSync(join(module, 'build/module.wasm')));
  assert.equal(run(join(dir, 'usr/bin/spacetime'), 'version').split('\n')[0], 'lightcone 0.1.0');
});

test('a project in TypeScript is made of the files of the package, and its module built', () => {
  const lightcone = join(dir, 'usr/bin/lightcone');
  const project = join(dir, 'guest-book');
  run(lightcone, '--root-dir', join(dir, 'user'), 'init', '--template', 'node-client', '--project-path', project, 'guest-book');
  const archive = readdirSync(project).find(file => file.endsWith('.tgz'));
  assert.match(readFileSync(join(project, 'package.json'), 'utf8'), new RegExp(`"lightcone": "file:./${archive}"`));
  // What `npm install` would do, without asking a registry for the rest.
  const packages = join(project, 'node_modules');
  mkdirSync(join(packages, 'lightcone'), { recursive: true });
  run('tar', '-xzf', join(project, archive), '--strip-components=1', '-C', join(packages, 'lightcone'));
  mkdirSync(join(packages, '.bin'));
  for (const tool of ['esbuild', 'tsc']) symlinkSync(join(top, 'build/tools/node_modules/.bin', tool), join(packages, '.bin', tool));
  run(lightcone, '--root-dir', join(dir, 'user'), 'build', '-p', join(project, 'spacetimedb'));
  assert.ok(existsSync(join(project, 'spacetimedb/dist/bundle.js')));
  assert.ok(!existsSync(join(dir, 'usr/share/lightcone/templates/basic-ts/node_modules')));
  // What templates share is links in the source tree.
  assert.ok(lstatSync(join(dir, 'usr/share/lightcone/templates/nextjs-chat/src/app/globals.css')).isFile());
});
