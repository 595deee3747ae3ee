// The optimised build, without building it, which takes minutes: what make would do, and the day's work that it is
// trained with, in short and on the build of every day.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { lightcone, top } from './harness.mjs';

const run = (command, ...words) =>
  execFileSync(command, words, { encoding: 'utf8', cwd: top, maxBuffer: 64 << 20, env: { ...process.env, MAKEFLAGS: '' } });

test('a package has the build that was trained', () => {
  const lines = run('make', '--dry-run', '--always-make', 'deb').split('\n');
  const steps = [
    /-fprofile-generate .*-c -o build\/train\/obj\/src\/node\/turn\.o /,
    /node bench\/train\.mjs build\/train\/lightcone/,
    /-flto.* -fprofile-use .*-c -o build\/optimized\/obj\/src\/node\/turn\.o /,
    / -o build\/optimized\/lightcone .*--no-as-needed -lmimalloc /,  // which the linker leaves out by itself
    /node bench\/train\.mjs build\/optimized\/lightcone/,
    /tools\/deb build\/optimized\/lightcone/,
  ];
  const at = steps.map(step => lines.findIndex(line => step.test(line)));
  assert.ok(at.every((line, i) => line >= 0 && (i === 0 || line > at[i - 1])), `lines ${at} of what make would do`);
});

test('a day of training ends well', () => {
  run('make', '--no-print-directory', '-j2', 'build/release/bench/load');
  run(process.execPath, 'bench/train.mjs', lightcone, '0.1');
});
