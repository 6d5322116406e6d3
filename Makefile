# bkfs: `make deps build install` to use it, `make demo` to see it, `make test` before a commit.

GO       ?= go
PREFIX   ?= /usr/local
DESTDIR  ?=
TESTFLAGS ?=
LINT_VERSION := v2.15.0
LINT         := .tools/golangci-lint-$(LINT_VERSION)

.PHONY: build test test-hidraw check bench demo install deps deps-bench clean

build:
	$(GO) build -trimpath -o bin/bkfs ./cmd/bkfs

# Everything, with the race detector; the integration tests build the program with it too.
test: deps
	@unformatted=$$(gofmt -l $$($(GO) list -f '{{.Dir}}' ./...)); \
	  test -z "$$unformatted" || { echo "gofmt wants to change: $$unformatted" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) test -race -timeout 18m -parallel 4 $(TESTFLAGS) ./...

# Tokens behind real hidraw nodes, in a guest under qemu; one test: go run ./integration/hidraw -run TestReplug
test-hidraw:
	@integration/deps
	@integration/deps hidraw
	@integration/hidraw/kernel .tools/hidraw
	$(GO) run ./integration/hidraw

check: $(LINT)
	$(LINT) run ./...

# Short: BENCH_TREE=/usr/share/doc BENCH_RUNS=1 BENCH_FILE_MIB=64 BENCH_STREAM_MIB=64 make bench
bench: deps-bench build
	$(GO) test -run '^$$' -bench . -benchtime 0.3s $$($(GO) list ./... | grep -v /integration)
	$(GO) run ./integration/bench

demo: deps build
	integration/demo bin/bkfs

install: build
	install -D -m 0755 bin/bkfs $(DESTDIR)$(PREFIX)/bin/bkfs

deps:
	@integration/deps

deps-bench:
	@integration/deps bench

clean:
	rm -rf bin

$(LINT):
	GOBIN=$(CURDIR)/.tools/tmp $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv .tools/tmp/golangci-lint $@
