#include "query/accumulate.h"

#include <math.h>

#include "base/test.h"

static uint64_t seed = 7;
static uint64_t random_below(uint64_t below) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % below;
}

static double sum_of(const Accumulator *acc) {
    Buf out = {0};
    double value;
    EXPECT(accumulator_sum(acc, type_simple(TYPE_F64), type_simple(TYPE_F64), &out));
    memcpy(&value, out.ptr, sizeof value);
    buf_deinit(&out);
    return value;
}

static void add(Accumulator *acc, double value) {
    EXPECT(accumulator_add(acc, type_simple(TYPE_F64), (const uint8_t *)&value));
}
static void take(Accumulator *acc, double value) {
    accumulator_remove(acc, type_simple(TYPE_F64), (const uint8_t *)&value);
}

TEST(accumulate, sums_of_floats_are_rounded_once) {
    Accumulator acc = {0};
    for (int i = 0; i < 10; i++)
        add(&acc, 0.1);
    EXPECT(sum_of(&acc) == 1.0);  // adding up gives 0.9999999999999999
    accumulator_deinit(&acc);
    add(&acc, 1e308);
    add(&acc, 1);
    add(&acc, 1e-320);
    take(&acc, 1e308);
    EXPECT(sum_of(&acc) == 1.0);
    take(&acc, 1);
    EXPECT(sum_of(&acc) == 1e-320);
    take(&acc, 1e-320);
    EXPECT(sum_of(&acc) == 0 && !signbit(sum_of(&acc)));
    add(&acc, -3.5);
    EXPECT(sum_of(&acc) == -3.5);
    add(&acc, 1.7e308);
    add(&acc, 1.7e308);
    EXPECT(isinf(sum_of(&acc)));
    take(&acc, 1.7e308);
    EXPECT(sum_of(&acc) == 1.7e308);
    accumulator_deinit(&acc);
}

TEST(accumulate, sums_of_floats_agree_with_exact_arithmetic) {
    for (int round = 0; round < 3000; round++) {  // multiples of 2^-30 fit 128 bits exactly
        Accumulator acc = {0};
        __int128 exact = 0;
        for (uint64_t n = random_below(40); n > 0; n--) {
            int64_t mantissa = (int64_t)random_below(UINT64_MAX >> 34) - (1 << 28);
            int shift = (int)random_below(60);
            exact += (__int128)mantissa * ((__int128)1 << shift);
            add(&acc, ldexp((double)mantissa, shift - 30));
        }
        EXPECT(sum_of(&acc) == ldexp((double)exact, -30));
        accumulator_deinit(&acc);
    }
}

TEST(accumulate, what_was_added_can_be_taken_back_in_any_order) {
    double values[200];
    for (int round = 0; round < 50; round++) {
        Accumulator acc = {0}, rest = {0};
        for (int i = 0; i < 200; i++) {
            uint64_t bits = random_below(UINT32_MAX) << 32 | random_below(UINT32_MAX);
            memcpy(&values[i], &bits, sizeof bits);
            if (round % 2 && !isfinite(values[i])) values[i] = 0;
            add(&acc, values[i]);
            if (i >= 150) add(&rest, values[i]);
        }
        for (int i = 0; i < 150; i++)
            take(&acc, values[i]);
        double a = sum_of(&acc), b = sum_of(&rest);
        EXPECT(a == b || (isnan(a) && isnan(b)));
        accumulator_deinit(&acc);
        accumulator_deinit(&rest);
    }
}

TEST(accumulate, integers_leave_their_type_and_come_back) {
    const Type *i64 = type_simple(TYPE_I64), *i128 = type_simple(TYPE_I128);
    const Type *u128 = type_simple(TYPE_U128), *i32 = type_simple(TYPE_I32);
    Accumulator acc = {0};
    Buf out = {0};
    unsigned __int128 most = ~(unsigned __int128)0;
    EXPECT(accumulator_add(&acc, u128, (const uint8_t *)&most));
    EXPECT(accumulator_sum(&acc, u128, u128, &out));
    EXPECT(accumulator_add(&acc, u128, (const uint8_t *)&most));
    EXPECT(!accumulator_sum(&acc, u128, u128, &out));
    EXPECT(fabs(accumulator_average(&acc, u128) / ldexp(1, 128) - 1) < 1e-15);
    accumulator_remove(&acc, u128, (const uint8_t *)&most);
    EXPECT(accumulator_sum(&acc, u128, u128, &out));
    accumulator_deinit(&acc);
    __int128 least = (__int128)1 << 126;
    least = -least - least;
    EXPECT(accumulator_add(&acc, i128, (const uint8_t *)&least));
    EXPECT(accumulator_sum(&acc, i128, i128, &out));
    EXPECT(accumulator_add(&acc, i128, (const uint8_t *)&least));
    EXPECT(!accumulator_sum(&acc, i128, i128, &out));
    accumulator_deinit(&acc);
    int32_t small = -7;
    EXPECT(accumulator_add(&acc, i32, (const uint8_t *)&small));
    buf_clear(&out);
    EXPECT(accumulator_sum(&acc, i32, i64, &out));
    EXPECT_EQ((int64_t)load_u64(out.ptr), -7);
    EXPECT(accumulator_average(&acc, i32) == -7.0);
    accumulator_deinit(&acc);
    buf_deinit(&out);
}

TEST_MAIN()
