// tables.h: what ../../conformance/cases.txt says every conformance module declares.
#pragma once
#include "lightcone.h"

typedef struct Point {
    int32_t x;
    int32_t y;
} Point;

typedef struct Shape {
    enum { SHAPE_CIRCLE, SHAPE_BOX, SHAPE_NOTHING } tag;
    union {
        double circle;
        Point box;
    };
} Shape;

typedef enum Color { RED, GREEN, BLUE } Color;

LC_TABLE(all_types, PUBLIC)
typedef struct AllTypes {
    uint64_t id LC_PRIMARY_KEY LC_AUTO_INC;
    bool yes;
    int8_t i_tiny;
    uint8_t u_tiny;
    int16_t i_short;
    uint16_t u_short;
    int32_t i_int;
    uint32_t u_int;
    int64_t i_long;
    uint64_t u_long;
    I128 i_wide;
    U128 u_wide;
    I256 i_huge;
    U256 u_huge;
    float f_single;
    double f_double;
    String text;
    Bytes blob;
    Array(uint32_t) numbers;
    Array(String) words;
    String *maybe_text;
    uint32_t *maybe_number;
    Result(uint32_t, String) outcome;
    Point place;
    Shape shape;
    Color color;
    Identity who;
    ConnectionId link;
    Timestamp moment;
    TimeDuration span;
    Uuid label;
    ScheduleAt at;
    Array(Point) corners;
    Array(Shape) * shapes;
} AllTypes;

LC_TABLE(pair, PUBLIC, INDEX(a, b, c), HASH(c))
typedef struct Pair {
    uint32_t a;
    String b LC_UNIQUE;
    int64_t c;
} Pair;

LC_TABLE(counter, PUBLIC)
typedef struct Counter {
    String name LC_PRIMARY_KEY;
    int64_t value;
} Counter;

LC_TABLE(event_log, PUBLIC, EVENT)
typedef struct EventLog {
    String text;
} EventLog;

LC_TABLE(tick, SCHEDULED(run_tick))
typedef struct Tick {
    uint64_t id LC_PRIMARY_KEY LC_AUTO_INC;
    ScheduleAt at;
    String text;
} Tick;

LC_TABLE(report, PUBLIC)
typedef struct Report {
    uint64_t id LC_PRIMARY_KEY LC_AUTO_INC;
    String case_name;
    String line;
} Report;
