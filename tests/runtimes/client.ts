// A program as a user would write it, which runs in Node, Deno and Bun alike: says what happens, one line each.
//
//   client.ts URI DATABASE [TOKEN]
import { DbConnection, tables } from './module_bindings/index.ts';

const [uri, database, token] = process.argv.slice(2);
const texts: string[] = [];

const connection = DbConnection.builder()
  .withUri(uri)
  .withDatabaseName(database)
  .withToken(token)
  .onConnect(async (connection, identity, token) => {
    console.log(`connected ${identity.toHexString()} ${token}`);
    connection
      .subscriptionBuilder()
      .onApplied(() => console.log(`applied ${connection.db.message.count()}`))
      .subscribe([tables.user, tables.message]);
    await connection.reducers.setName({ name: 'Runner' });
    console.log('named', connection.db.user.identity.find(identity)?.name ?? '(no rows yet)');
    await connection.reducers.sendMessage({ text: ' ' }).catch(error => console.log(`refused ${error.name}: ${error.message}`));
    await connection.reducers.sendMessage({ text: 'first of mine' });
  })
  .onConnectError((context, error) => console.log(`error ${error.message}`))
  .onDisconnect(() => console.log('lost'))
  .onReconnect(async connection => {
    console.log(`reconnected ${connection.identity?.toHexString()}`);
    await connection.reducers.sendMessage({ text: 'after' });
  })
  .build();

connection.db.message.onInsert((_context, message) => {
  texts.push(message.text);
  console.log(`message ${message.text.length > 100 ? message.text.length : message.text}`);
  if (message.text === 'goodbye') {
    console.log(`twice ${texts.length - new Set(texts).size}`);
    connection.disconnect(); // and the program ends by itself
  }
});
