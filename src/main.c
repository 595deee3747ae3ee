#include <stdio.h>

int main(void) {
    puts("lightcone");
    return 0;
}
