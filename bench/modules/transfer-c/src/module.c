// What bench/load calls: a row appended, and money moved between two of many accounts. The same tables
// and reducers as ../transfer has in TypeScript.
#include "lightcone.h"

#define ACCOUNTS      100000
#define START_BALANCE 1000

LC_TABLE(account, PUBLIC)
typedef struct Account {
    uint32_t id LC_PRIMARY_KEY;
    int64_t balance;
} Account;

LC_TABLE(message, PUBLIC)
typedef struct Message {
    uint64_t id LC_PRIMARY_KEY LC_AUTO_INC;
    String text;
} Message;

LC_INIT
Error init(Ctx *ctx) {
    for (uint32_t id = 0; id < ACCOUNTS; id++)
        TRY(account_insert(&(Account){.id = id, .balance = START_BALANCE}));
    return OK;
}

LC_REDUCER
Error insert(Ctx *ctx, String text) {
    return message_insert(&(Message){.text = text});
}

LC_REDUCER
Error transfer(Ctx *ctx, uint32_t from, uint32_t to, uint32_t amount) {
    Account *debit = account_find_by_id(from);
    Account *credit = account_find_by_id(to);
    if (!debit || !credit) return lc_error("no such account");
    if (from == to) return lc_error("an account cannot pay itself");
    if (debit->balance < (int64_t)amount) return lc_error("insufficient funds");
    debit->balance -= amount;
    credit->balance += amount;
    TRY(account_update_by_id(debit));
    return account_update_by_id(credit);
}

// Forget the messages, so that a run does not pay for the ones before it.
LC_REDUCER
Error clear(Ctx *ctx) {
    message_clear();
    return OK;
}
