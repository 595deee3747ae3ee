// JavaScriptCore 2.50 never frees the name of a class field, in each instance of a module anew, so neither the
// library nor what the server puts into each instance has any: docs/internals/performance.md, "Memory over hours".
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

const top = fileURLToPath(new URL('../../..', import.meta.url));
const esbuild = join(top, 'build/tools/node_modules/.bin/esbuild');

// Asked to do without class fields, esbuild brings helpers wherever there was one.
function hasClassFields(code) {
  const without = ['class-field', 'class-static-field', 'class-private-field', 'class-private-static-field'];
  const words = ['--loader=js', '--target=es2022', ...without.map(feature => `--supported:${feature}=false`)];
  return /__publicField|__privateAdd/.test(execFileSync(esbuild, words, { input: code, encoding: 'utf8' }));
}

test('class fields are seen, of each kind', () => {
  for (const field of ['name = 1', 'name', 'static name = 1', '#name = 1', 'static #name'])
    assert.ok(hasClassFields(`export class A { ${field}; }`), field);
  assert.ok(!hasClassFields('export class A { static { this.name = 1; } constructor() { this.name = 1; } }'));
});

test('the module library has no class fields', () => {
  const dist = join(top, 'sdk/typescript/dist');
  const files = ['core', 'server'].flatMap(folder => readdirSync(join(dist, folder), { recursive: true })
    .filter(name => name.endsWith('.js')).map(name => join(dist, folder, name)));
  assert.ok(files.length > 10);
  for (const file of files) assert.ok(!hasClassFields(readFileSync(file, 'utf8')), file);
});

test('what the server puts into each instance has no class fields', () => {
  assert.ok(!hasClassFields(readFileSync(join(top, 'src/host/js/prelude.js'), 'utf8')));
});
