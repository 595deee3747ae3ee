// Shows on the terminal what happens in the database. With words it says them and ends:
//
//   npm start                 watch
//   npm start Hello there     say something
import { existsSync, readFileSync } from 'node:fs';
import { DbConnection, tables } from './module_bindings';

// `lightcone dev` writes these into .env.local, and gives them to the program that it starts.
const settings = existsSync('.env.local') ? readFileSync('.env.local', 'utf8') : '';
for (const [, name, value] of settings.matchAll(/^(\w+)=(.*)$/gm)) process.env[name!] ??= value;
const { LIGHTCONE_HOST: host = 'http://127.0.0.1:3000', LIGHTCONE_DB_NAME: database = '__NAME__' } = process.env;

const words = process.argv.slice(2).join(' ');

const connection = DbConnection.builder()
  .withUri(host)
  .withDatabaseName(database)
  .onConnectError((_ctx, error) => {
    console.error(`Could not connect to ${database} at ${host}: ${error.message}`);
    process.exitCode = 1;
  })
  .build();

const { user, message } = connection.db;

function watch() {
  const name = (sender: { toHexString(): string }) =>
    [...user].find(each => each.identity.toHexString() === sender.toHexString())?.name ?? 'Somebody';

  console.log(`Connected to ${database}: ${user.count()} people, ${message.count()} messages.`);
  user.onInsert((_ctx, row) => console.log(`+ ${row.name}`));
  user.onUpdate((_ctx, before, row) => {
    if (before.name !== row.name) console.log(`  ${before.name} is called ${row.name} now`);
    if (before.online !== row.online) console.log(`${row.online ? '+' : '-'} ${row.name}`);
  });
  message.onInsert((_ctx, row) => console.log(`${name(row.sender)}: ${row.text}`));
}

async function say(text: string) {
  try {
    await connection.reducers.sendMessage({ text });
  } catch (problem) {
    console.error(problem instanceof Error ? problem.message : problem);
    process.exitCode = 1;
  }
  connection.disconnect();
}

connection
  .subscriptionBuilder()
  .onApplied(() => (words ? void say(words) : watch()))
  .subscribe([tables.user, tables.message]);
