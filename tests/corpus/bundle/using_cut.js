f() { using a = g(), b }
using c = d,