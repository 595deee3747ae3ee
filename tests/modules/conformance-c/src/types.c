// types.c: rows of every type, at the ends of what each can hold.
#include "cases.h"

static const String empty = {"", 0};

static void round_trip(Case *it, AllTypes *row) {
    all_types_clear();
    Error error = all_types_insert(row);
    if (error) lc_panic("all_types: %s", error->message.ptr);
    uint32_t iter = 0;
    Blob raw, again;
    lc_abi_datastore_table_scan_bsatn(table_of("all_types"), &iter);
    drain(iter, &raw);
    say(it, "row %s", hex(raw.ptr + 8, raw.len - 8));
    AllTypesScan scan = all_types_scan();
    if (!all_types_next(&scan)) lc_panic("the row is not there");
    AllTypes copy = *scan.row;  // decoded; now encoded again, under the same id
    all_types_clear();
    error = all_types_insert(&copy);
    if (error) lc_panic("all_types: %s", error->message.ptr);
    lc_abi_datastore_table_scan_bsatn(table_of("all_types"), &iter);
    drain(iter, &again);
    bool same = raw.len == again.len && memcmp(raw.ptr, again.ptr, raw.len) == 0;
    say(it, "decoded: %s", same ? "same" : hex(again.ptr, again.len));
    say(it, "count: %d", (int)all_types_count());
}

static I256 huge_least(void) {
    return (I256){{0, 0, 0, (uint64_t)1 << 63}};
}

static void lowest(Case *it) {
    round_trip(it,
               &(AllTypes){
                   .i_tiny = INT8_MIN,
                   .i_short = INT16_MIN,
                   .i_int = INT32_MIN,
                   .i_long = INT64_MIN,
                   .i_wide = (I128)((U128)1 << 127),
                   .i_huge = huge_least(),
                   .f_single = -__builtin_inff(),
                   .f_double = -__builtin_inf(),
                   .outcome = {.err = (String *)&empty},
                   .place = {INT32_MIN, INT32_MIN},
                   .shape = {.tag = SHAPE_NOTHING},
                   .color = RED,
                   .moment = {INT64_MIN},
                   .span = {INT64_MIN},
                   .at = lc_every((TimeDuration){INT64_MIN}),
               });
}

static void highest(Case *it) {
    static const uint8_t three[] = {0xff, 0x00, 0xfe};
    U256 ones = {{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}};
    uint32_t numbers[] = {0, UINT32_MAX}, most = UINT32_MAX;
    String words[] = {empty, LC_STR("z")};
    Point corners[] = {{INT32_MAX, INT32_MIN}};
    Shape some[] = {{.tag = SHAPE_NOTHING}, {.tag = SHAPE_CIRCLE, .circle = __builtin_inf()}};
    Array(Shape) shapes = {some, 2, 2};
    round_trip(it,
               &(AllTypes){
                   .yes = true,
                   .i_tiny = INT8_MAX,
                   .u_tiny = UINT8_MAX,
                   .i_short = INT16_MAX,
                   .u_short = UINT16_MAX,
                   .i_int = INT32_MAX,
                   .u_int = UINT32_MAX,
                   .i_long = INT64_MAX,
                   .u_long = UINT64_MAX,
                   .i_wide = (I128)(~(U128)0 >> 1),
                   .u_wide = ~(U128)0,
                   .i_huge = {{UINT64_MAX, UINT64_MAX, UINT64_MAX, INT64_MAX}},
                   .u_huge = ones,
                   .f_single = __builtin_inff(),
                   .f_double = __builtin_inf(),
                   .text = LC_STR("\u00e9\u20ac\U0001f600"),
                   .blob = {three, 3},
                   .numbers = {numbers, 2, 2},
                   .words = {words, 2, 2},
                   .maybe_text = (String *)&empty,
                   .maybe_number = &most,
                   .outcome = {.ok = &most},
                   .place = {INT32_MAX, INT32_MAX},
                   .shape = {.tag = SHAPE_BOX, .box = {INT32_MAX, INT32_MIN}},
                   .color = BLUE,
                   .who = {ones},
                   .link = {~(U128)0},
                   .moment = {INT64_MAX},
                   .span = {INT64_MAX},
                   .label = {~(U128)0},
                   .at = lc_at((Timestamp){INT64_MAX}),
                   .corners = {corners, 1, 1},
                   .shapes = &shapes,
               });
}

static void plain(Case *it) {
    static const uint8_t two[] = {1, 2};
    uint32_t numbers[] = {3, 1, 2}, seven = 7;
    String words[] = {LC_STR("one"), LC_STR("two")}, some = LC_STR("some"), bad = LC_STR("bad");
    Point corners[] = {{0, 0}, {3, 4}};
    Shape three[] = {{.tag = SHAPE_BOX, .box = {5, 6}},
                     {.tag = SHAPE_NOTHING},
                     {.tag = SHAPE_CIRCLE, .circle = 2}};
    Array(Shape) shapes = {three, 3, 3};
    round_trip(it,
               &(AllTypes){
                   .yes = true,
                   .i_tiny = -1,
                   .u_tiny = 2,
                   .i_short = -3,
                   .u_short = 4,
                   .i_int = -5,
                   .u_int = 6,
                   .i_long = -7,
                   .u_long = 8,
                   .i_wide = -9,
                   .u_wide = 10,
                   .i_huge = {{(uint64_t)-11, UINT64_MAX, UINT64_MAX, UINT64_MAX}},
                   .u_huge = {{12}},
                   .f_single = 1.5f,
                   .f_double = -2.25,
                   .text = LC_STR("text"),
                   .blob = {two, 2},
                   .numbers = {numbers, 3, 3},
                   .words = {words, 2, 2},
                   .maybe_text = &some,
                   .maybe_number = &seven,
                   .outcome = {.err = &bad},
                   .place = {1, -1},
                   .shape = {.tag = SHAPE_CIRCLE, .circle = 0.5},
                   .color = GREEN,
                   .who = {{{0x11}}},
                   .link = {0x22},
                   .moment = {1700000000000000},
                   .span = {1500000},
                   .label = {0x33},
                   .at = lc_every(lc_seconds(1)),
                   .corners = {corners, 2, 2},
                   .shapes = &shapes,
               });
}

const CaseEntry type_cases[] = {{"types_lowest", lowest},
                                {"types_highest", highest},
                                {"types_plain", plain},
                                {0}};
