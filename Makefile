# Two commands do everything on a fresh Debian 12:
#   make run     install what is missing, build, start the server with the chat example, print the URL
#   make test    install what tests need, run all of them; ends with "N passed, N failed"
#
# Everyday ones: make, make check T=tree, make asan, make tsan, make fuzz T=bsatn, make sim SEED=7,
# make bench [ONLY=insert], make format, make lint, make optimized, make deb.

CC      ?= cc
VARIANT ?= release
OUT     := build/$(VARIANT)

# Build with what make finds installed; tools/deps installs it (make run, make test do).
PKGS := javascriptcoregtk-4.1 openssl jansson libcurl libedit zlib libbrotlienc
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null | sed 's/-I/-isystem /g')
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lunistring -lm -lpthread

WARN := -Wall -Wextra -Wconversion -Wno-sign-conversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
# Wire formats never rely on struct layout; x86-64-v2 gives us the crc32c instruction.
ARCH := $(shell uname -m | sed -n 's/x86_64/-march=x86-64-v2/p')
CFLAGS_release := -O2 -g -DLC_DEBUG=0
CFLAGS_asan    := -O1 -g -DLC_DEBUG=1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS_tsan    := -O1 -g -DLC_DEBUG=1 -fsanitize=thread -fno-omit-frame-pointer
# The optimised build, and the one that is watched while it works: "make optimized", below. GCC's own call of execve
# would write what has been counted from the child of a vfork, over its parent's memory; and by itself GCC makes small,
# not fast, what is rarely done.
CFLAGS_train     := -O2 -g -DLC_DEBUG=0 -fprofile-generate -fprofile-update=prefer-atomic -fno-builtin-execve
CFLAGS_optimized := -O2 -g -DLC_DEBUG=0 -flto=auto -fprofile-use -fprofile-correction -fprofile-partial-training \
                    -Wno-missing-profile --param hot-bb-count-ws-permille=1000
CFLAGS_fuzz    := -O1 -g -DLC_DEBUG=1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LIBS_release   := $(shell pkg-config --libs mimalloc 2>/dev/null || echo -lmimalloc)
LIBS_train     := $(LIBS_release)
# Across files the linker does not see who calls malloc until it is late: it would leave the library out as not needed.
LIBS_optimized := -Wl,--push-state,--no-as-needed $(LIBS_release) -Wl,--pop-state
AR := ar
ifeq ($(VARIANT),fuzz)
CC := clang
endif
ifneq ($(filter train optimized,$(VARIANT)),)
CC := gcc
AR := gcc-ar
endif

CFLAGS_ALL := -std=gnu17 -MMD -MP $(ARCH) $(WARN) $(CFLAGS_$(VARIANT)) -Isrc -I. $(PKG_CFLAGS) $(CFLAGS)
$(OUT)/obj/sdk/client-c/%.o: CFLAGS_ALL += -Ibuild/client-c
LINK       := $(CC) $(CFLAGS_$(VARIANT)) $(LDFLAGS)
LINK_LIBS  := $(PKG_LIBS)

# src/host/wasm/rt is compiled into modules, when they are published.
SOURCES := $(sort $(shell find src cli -name '*.c' -not -path 'src/host/wasm/rt/*'))
TESTS   := $(filter %_test.c,$(SOURCES)) $(sort $(wildcard sdk/client-c/*_test.c))
FUZZERS := $(filter %_fuzz.c,$(SOURCES)) sdk/client-c/client_fuzz.c
MAIN    := src/main.c
# Its engine stands in for host/ in the tests that are linked with it, and nowhere else.
STAND_IN := src/node/node_testing.c
LIB_SRC := $(filter-out $(TESTS) $(FUZZERS) $(MAIN) $(STAND_IN),$(SOURCES))
LIB_OBJ := $(LIB_SRC:%.c=$(OUT)/obj/%.o)
LIB     := $(OUT)/liblightcone.a
TEST_BIN := $(TESTS:%.c=$(OUT)/%)
FUZZ_BIN := $(FUZZERS:%.c=$(OUT)/%)
BENCH_SRC := $(sort $(wildcard bench/*.c))
BENCH_BIN := $(BENCH_SRC:%.c=$(OUT)/%)

.DEFAULT_GOAL := all
.SECONDARY: # keep the tests' objects: a change of the library only links them again
.PHONY: all lib check tests bench-bin fuzz-bin clean format
all: build/lightcone build/client-c/lightcone_client.c

lib: $(LIB)

build/lightcone: $(OUT)/lightcone
	@ln -f $< $@
$(OUT)/lightcone: $(OUT)/obj/src/main.o $(LIB)
	@echo "  link    $@"
	@$(LINK) -o $@ $^ $(LIBS_$(VARIANT)) $(LINK_LIBS)

$(LIB): $(LIB_OBJ)
	@rm -f $@ && $(AR) rcs $@ $^

$(OUT)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc      $<"
	@$(CC) $(CFLAGS_ALL) -c -o $@ $<

$(OUT)/%_test: $(OUT)/obj/%_test.o $(LIB)
	@mkdir -p $(@D)
	@$(LINK) -o $@ $(filter %.o,$^) $(LIB) -lcmocka $(LINK_LIBS)
$(OUT)/src/node/node_test $(OUT)/src/node/node_read_test $(OUT)/src/node/node_disk_test: $(STAND_IN:%.c=$(OUT)/obj/%.o)
# Of these the allocator is part of what they test.
$(OUT)/src/base/mem_test $(OUT)/src/node/worker_test: LINK_LIBS := $(LIBS_$(VARIANT)) $(LINK_LIBS)
$(OUT)/src/query/sqlite_test $(OUT)/src/live/differential_test: LINK_LIBS += -lsqlite3
$(OUT)/src/wire/pack_test: LINK_LIBS += -lbrotlidec
$(OUT)/bench/store: LINK_LIBS += -llmdb -lsqlite3
$(OUT)/bench/%: $(OUT)/obj/bench/%.o $(LIB)
	@mkdir -p $(@D)
	@$(LINK) -o $@ $^ $(LIBS_$(VARIANT)) $(LINK_LIBS)
$(OUT)/%_fuzz: $(OUT)/obj/%_fuzz.o $(LIB)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS_$(VARIANT)) -fsanitize=fuzzer -o $@ $^ $(LINK_LIBS)

# instance.c takes it in with .incbin, which no compiler reports.
$(OUT)/obj/src/host/js/instance.o: src/host/js/prelude.js
$(OUT)/obj/src/node/route_server.o: src/node/openapi.json
$(OUT)/obj/src/host/wasm/compile.o: $(wildcard src/host/wasm/rt/*)

# The client in C as programs take it in, and as its tests do.
build/client-c/lightcone_client.c: tools/client-c $(wildcard sdk/client-c/*.h sdk/client-c/src/*)
	@$< $(@D)
$(filter $(OUT)/obj/sdk/client-c/%,$(TESTS:%.c=$(OUT)/obj/%.o) $(FUZZERS:%.c=$(OUT)/obj/%.o)): build/client-c/lightcone_client.c

# The library for modules in C, with a module, compiled for this machine: sdk/module-c/native/native.h.
# Debuggers and sanitizers see through all of it.
C_MODULE := tests/modules/conformance-c
C_NATIVE := $(OUT)/sdk/module-c/native
C_WARN   := -Wall -Wextra -Wno-unused-parameter
TEST_BIN += $(C_NATIVE)/conformance_test $(C_NATIVE)/text_test
$(C_NATIVE)/module.a: $(wildcard sdk/module-c/*.[ch] $(C_MODULE)/src/*) $(OUT)/lightcone
	@mkdir -p $(@D)
	@echo "  cc      $(C_MODULE)"
	@$(OUT)/lightcone build --accessors -p $(C_MODULE) >/dev/null
	@rm -f $@; for c in sdk/module-c/*.c $(C_MODULE)/src/*.c $(C_MODULE)/build/gen/module.gen.c; do \
	    o=$(@D)/$$(basename $$c .c).module.o; \
	    $(CC) -std=gnu17 $(ARCH) $(C_WARN) $(CFLAGS_$(VARIANT)) -Isdk/module-c -I$(C_MODULE)/build/gen \
	        -c -o $$o $$c && ar rcs $@ $$o || exit 1; done
$(C_NATIVE)/conformance_test: sdk/module-c/native/conformance_test.c sdk/module-c/native/native.c sdk/module-c/native/native.h $(C_NATIVE)/module.a $(LIB)
	@echo "  link    $@"
	@$(LINK) $(CFLAGS_ALL) -MF $@.d -o $@ $(filter %.c %.a,$^) -lcmocka $(LINK_LIBS)
$(C_NATIVE)/text_test: sdk/module-c/native/text_test.c sdk/module-c/native/native.c $(C_NATIVE)/module.a $(LIB)
	@echo "  link    $@"
	@$(CC) -std=gnu17 $(C_WARN) $(CFLAGS_$(VARIANT)) -Isdk/module-c -c -o $@.o $<
	@$(LINK) $(CFLAGS_ALL) -MF $@.d -o $@ $@.o $(filter-out $<,$(filter %.c %.a,$^)) -lcmocka $(LINK_LIBS)

SIM_OBJ := $(patsubst %.c,$(OUT)/obj/%.o,$(sort $(wildcard tests/sim/*.c)))
$(OUT)/tests/sim/sim: $(SIM_OBJ) $(LIB)
	@mkdir -p $(@D)
	@echo "  link    $@"
	@$(LINK) -o $@ $^ $(LINK_LIBS)

# What a day's work has taught about each object (make optimized). GCC looks for it beside the object.
build/train/profile: $(wildcard build/train/lightcone build/train/bench/load) bench/train.mjs
	@echo "  train   build/train/lightcone"
	@find build/train/obj -name '*.gcda' -delete
	@node bench/train.mjs build/train/lightcone
	@touch $@
ifeq ($(VARIANT),optimized)
$(LIB_OBJ) $(OUT)/obj/src/main.o: $(OUT)/profile
$(OUT)/profile: build/train/profile
	@mkdir -p $(OUT)/obj
	@find $(OUT)/obj -name '*.gcda' -delete
	@cd build/train/obj && find . -name '*.gcda' | tar -cf - -T - | tar -xf - -C ../../optimized/obj
	@touch $@
endif

tests: $(TEST_BIN)
bench-bin: $(BENCH_BIN)
fuzz-bin: $(FUZZ_BIN)

# ── what people type ─────────────────────────────────────────────────────────────────────────────

.PHONY: run test asan tsan fuzz sim bench soak lint install-alias optimized deb

run:
	@tools/run

test:
	@tools/deps test
	@tests/run

# One test by name: make check T=tree runs every test executable whose path contains "tree".
check:
	@$(MAKE) --no-print-directory VARIANT=$(VARIANT) tests
	@for t in $(sort $(foreach b,$(TEST_BIN),$(if $(findstring $(T),$(b)),$(b)))); do $$t || exit 1; done

# The same tests under AddressSanitizer and UBSan, or under ThreadSanitizer.
asan tsan:
	@$(MAKE) --no-print-directory VARIANT=$@ check T=$(T)

# make fuzz T=bsatn [SECONDS=600]: a fuzz target on its corpus; new inputs stay in build/fuzz.
SECONDS ?= 600
fuzz:
	@$(MAKE) --no-print-directory VARIANT=fuzz $(filter %/$(T)_fuzz,$(FUZZERS:%.c=build/fuzz/%))
	@mkdir -p build/fuzz/found/$(T)
	$(filter %/$(T)_fuzz,$(FUZZERS:%.c=build/fuzz/%)) -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=4096 \
	    -artifact_prefix=build/fuzz/found/$(T)- build/fuzz/found/$(T) tests/corpus/$(T)

# Whole databases on a disk that fails, each from a seed (tests/sim). make sim runs thousands;
# make sim SEED=7 TRACE=1 one again, telling what happens; make sim SEEDS=100000 the night's.
sim: $(OUT)/tests/sim/sim
	@$(foreach v,SEED SEEDS STEPS JOBS TRACE,$(if $($(v)),$(v)=$($(v)))) $<

# make bench [ONLY=insert]: a table on the terminal, build/bench/latest.json for programs. BUILD=optimized: of that build.
bench:
	@tools/deps bench
	@$(MAKE) --no-print-directory all bench-bin $(filter optimized,$(BUILD))
	@ONLY=$(ONLY) BUILD=$(BUILD) bench/run

# make soak MINUTES=30: everything at once for so long; memory, threads, descriptors and files stay flat.
MINUTES ?= 30
soak:
	@tools/deps test
	@$(MAKE) --no-print-directory all $(OUT)/bench/load
	@build/lightcone build --no-config -p bench/modules/transfer-c >/dev/null
	@MINUTES=$(MINUTES) node bench/soak.mjs

lint:
	@tests/rooms

# Existing scripts that call `spacetime` find us: make install-alias PREFIX=/usr/local [BUILD=optimized]
PREFIX ?= /usr/local
install-alias: $(if $(BUILD),$(BUILD),build/lightcone)
	install -d $(PREFIX)/bin
	install $(if $(BUILD),build/$(BUILD),build)/lightcone $(PREFIX)/bin/lightcone
	tools/share $(PREFIX)/share/lightcone
	ln -sf lightcone $(PREFIX)/bin/spacetime

# build/optimized/lightcone, which does a fifth more on the same machine and is what packages have: built once to be watched
# at a day's work, and again knowing what that was, across all files. Does the day's work then itself. Some minutes; GCC's.
optimized:
	@tools/deps deb
	@$(MAKE) --no-print-directory VARIANT=train build/train/lightcone build/train/bench/load
	@$(MAKE) --no-print-directory VARIANT=optimized build/optimized/lightcone
	@node bench/train.mjs build/optimized/lightcone 0.2

# A Debian package with the service: build/lightcone_VERSION_ARCH.deb
deb: optimized
	@tools/deb build/optimized/lightcone

format:
	@git ls-files '*.[ch]' | xargs clang-format -i

clean:
	rm -rf build

-include $(shell find $(OUT)/obj -name '*.d' 2>/dev/null)
