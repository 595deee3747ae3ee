"""Both drivers of Python, as programs use them: pg_python.py DRIVER PORT DATABASE TOKEN IDENTITY.

The first mistake ends it with a traceback; "well" is the last line of a run that is well. The tables are those
of pg.test.mjs.
"""

import datetime
import decimal
import importlib
import io
import sys
import uuid

driver, port, database, token, identity = sys.argv[1:]
pg = importlib.import_module(driver)
utc = datetime.timezone.utc
where = dict(host="127.0.0.1", port=port, user="somebody", dbname=database, password=token)
if driver == "psycopg2":
    import psycopg2.extras

    psycopg2.extras.register_uuid()


def state(error):
    return getattr(error, "sqlstate", None) or error.pgcode


def refused(code, words, statement, *values):
    try:
        statement(*values)
    except pg.Error as error:
        assert state(error) == code and words in str(error), (state(error), error)
    else:
        raise AssertionError(f"{words}: it was accepted")


# As it comes a driver begins a transaction, which is refused with the way out.
careless = pg.connect(**where)
refused("0A000", "autocommit", careless.cursor().execute, "select 1")
careless.rollback()
careless.autocommit = True
careless.cursor().execute("select 1")
careless.close()

connection = pg.connect(**where)
connection.autocommit = True
cursor = connection.cursor()


def ask(text, *values):
    cursor.execute(text, values)
    return cursor.fetchall() if cursor.description else cursor.rowcount


def bytes_of(value):
    return bytes(value)


# Values of every type come as Python knows them.
row = ask("select * from kinds")[0]
assert row[:9] == (1, True, -8, 200, -9 * 10**18, decimal.Decimal(18 * 10**18), decimal.Decimal(2**255), 1.5, -0.1), row
assert row[9] == 'héllo "q"' and bytes_of(row[10]) == b"\x01\x02\xff" and bytes_of(row[11]).hex() == identity
assert row[12] == uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")
assert row[13] == datetime.datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=utc), row[13]
assert row[14] == datetime.timedelta(seconds=3661.5)
assert row[15:] == (None, ["a", 'b "c"', ""], [1, -2], "green", {"x": 1, "y": "z"}), row[15:]


# Values of every type are found. psycopg sends them beside the text, psycopg2 writes them into it, with casts.
def finds(condition, *values):
    assert ask(f"select id from kinds where {condition}", *values) == [(1,)], condition


finds("b = %s and u_64 = %s and s = %s", True, 18 * 10**18, 'héllo "q"')
finds("i_8 in (%s, %s) and f_64 < %s and f_32 = %s", 5, -8, 0, 1.5)
finds("f_64 < %s", decimal.Decimal("0.5"))
finds("bytes = %s and who = %s", b"\x01\x02\xff", bytes.fromhex(identity))
finds("uid = %s", uuid.UUID("01234567-89ab-cdef-0123-456789abcdef"))
finds("at between %s and %s", datetime.datetime(2026, 1, 1, tzinfo=utc), datetime.datetime(2026, 1, 1, 0, 0, 1, tzinfo=utc))
finds("at > %s and at > %s", datetime.datetime(2025, 1, 1), datetime.date(2025, 1, 1))
finds("maybe is null order by id limit %s offset %s", 1, 0)

# What is written is there, quotes and options too.
nasty = "a 'quoted' \\ % ; -- $1 thing\nwith ümlauts"
assert ask("insert into wish (id, what, color) values (%s, %s, %s), (%s, %s, %s)", 101, nasty, "grey", 102, None, "blue") == 2
assert ask("select * from wish where id > %s order by id", 100) == [(101, nasty, "grey"), (102, None, "blue")]
assert ask("select id from wish where what is not null and id > %s", 100) == [(101,)]
assert ask("update wish set what = %s where id = %s", None, 101) == 1
cursor.executemany("insert into wish (id, what, color) values (%s, %s, %s)", [(200 + i, str(i), "grey") for i in range(50)])
assert ask("select count(*) as n from wish where id >= 200")[0][0] == 50
if driver == "psycopg2":
    psycopg2.extras.execute_values(cursor, "insert into wish (id, what, color) values %s", [(300 + i, None, "blue") for i in range(250)])
    psycopg2.extras.execute_batch(cursor, "update wish set what = %s where id = %s", [("x", 300 + i) for i in range(20)])
    assert ask("select count(*) as n from wish where what is not null and id >= %s", 300)[0][0] == 20
    assert ask("select id from wish where id in %s order by id", (101, 102)) == [(101,), (102,)]
assert ask("delete from wish where id > 100") == (302 if driver == "psycopg2" else 52)
now = datetime.datetime.now(utc)
assert ask("insert into item (id, name, price, at) values (0, %s, %s, %s)", driver, 4711, now) == 1
assert ask("select name, at from item where price = %s", 4711) == [(driver, now)]
assert ask("delete from item where price = %s", 4711) == 1

# Mistakes are exceptions of their kind, at their place, and the connection goes on.
refused("42P01", "no such table: `nope`", ask, "select * from nope")
refused("42601", "selec", ask, "selec")
refused("22P02", "pink", ask, "insert into wish (id, what, color) values (%s, %s, %s)", 3, None, "pink")
refused("22004", "NULL", ask, "insert into wish (id, what, color) values (%s, %s, %s)", None, None, "blue")
ask("insert into secret (id, word) values (71, 'a')")
refused("23505", "secret", ask, "insert into secret (id, word) values (71, 'b')")
assert ask("delete from secret where id = 71") == 1

# What there is not is said.
if driver == "psycopg2":
    refused("0A000", "COPY is not supported", cursor.copy_from, io.StringIO("1\ta\n"), "secret")
    refused("0A000", "COPY is not supported", cursor.copy_to, io.StringIO(), "secret")
    refused("0A000", "DECLARE is not supported", connection.cursor("held", withhold=True).execute, "select * from item")
else:
    def copy(text):
        with cursor.copy(text):
            pass

    def transaction():
        with connection.transaction():
            pass

    refused("0A000", "COPY is not supported", copy, "copy secret (id, word) from stdin")
    refused("0A000", "COPY is not supported", copy, "copy secret to stdout")
    refused("0A000", "autocommit", transaction)
    refused("0A000", "DECLARE is not supported", connection.cursor("held").execute, "select * from item")
    binary = connection.cursor(binary=True)
    assert binary.execute("select * from kinds").fetchone() == row
    with connection.pipeline():
        first, second = connection.execute("select 1 as a"), connection.execute("select 2 as a")
    assert (first.fetchone(), second.fetchone()) == ((1,), (2,))
    assert list(cursor.stream("select id from kinds")) == [(1,)]
    for _ in range(7):  # from the sixth time on it is prepared
        assert connection.execute("select id from kinds where id = %s", (1,)).fetchall() == [(1,)]
assert ask("select 1 as a") == [(1,)]
connection.close()
print("well")
