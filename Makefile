# All of this needs Go. What "make test" can use besides is installed by it where that is
# possible, and skipped by name where not.

GO ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Of the commit, so that it can be built again to the same bytes. Both are empty without git:
# then the program says what the go command knows.
REVISION := $(shell git describe --always --abbrev=40 --exclude='*' --dirty=-modified 2>/dev/null)
DATE := $(shell TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.revision=$(REVISION) -X main.date=$(DATE)

# The race detector needs a C compiler.
RACE := $(if $(shell command -v "$$($(GO) env CC)" 2>/dev/null),-race)

FUZZTIME ?= 10s
PLATFORMS ?= linux/amd64 linux/arm64 linux/arm darwin/arm64 windows/amd64 freebsd/amd64

.PHONY: build run test clients lint fuzz bench bench-peers bench-stores crash cross clean

# One static file: bin/stompserver.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/stompserver ./cmd/stompserver

# Build and serve, on localhost:61613 if not told otherwise: make run ARGS='-p 61614 -d'.
run: build
	@exec bin/stompserver $(ARGS)

# Everything, one package: make test PACKAGES=./internal/frame/ TESTFLAGS=-v.
PACKAGES ?= ./...
# These leave something out under the race detector, and so run without it, too.
SLOW := $(filter ./internal/store/activerecord/,$(PACKAGES:./...=./internal/store/activerecord/))
# A package has 10 minutes by itself, which it may need where all of them share a few cores.
TIMEOUT ?= 30m
test: clients
	$(if $(RACE),,@echo 'make: no C compiler, so the tests run without the race detector' >&2)
	$(GO) vet $(PACKAGES)
	$(GO) test $(RACE) -timeout $(TIMEOUT) $(TESTFLAGS) $(PACKAGES)
	$(if $(and $(RACE),$(SLOW)),$(GO) test -timeout $(TIMEOUT) $(TESTFLAGS) $(SLOW))

# The client libraries that test/clients speaks with.
clients:
	@scripts/install-clients

lint:
	@bad=$$(git ls-files --cached --others --exclude-standard '*.go' | xargs $$($(GO) env GOROOT)/bin/gofmt -l); \
	if [ -n "$$bad" ]; then echo "not formatted by gofmt:"; echo "$$bad"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...

# Each fuzz target for FUZZTIME.
fuzz:
	@FUZZTIME=$(FUZZTIME) scripts/fuzz

# Crashes by the hundred: of the journal on a file system that loses what was not synced, and of
# the server by SIGKILL, under load and in random programs.
CRASHES ?= 500
crash:
	$(GO) test -count=1 -timeout 2h -v -run Crash ./internal/store/journal -journal.rounds=$(CRASHES)
	$(GO) test -count=1 -timeout 2h -v -run 'Power|Faults' ./test/faults -faults.cuts=$(CRASHES) -faults.all
	$(GO) test -count=1 -timeout 2h -v -run Kill ./test/durable -durable.kills=$(CRASHES)
	$(GO) test -count=1 -timeout 2h -v -run Kill ./test/model -model.kills=$(CRASHES) -model.databases=$(CRASHES)

bench:
	$(GO) test -run '^$$' -bench . -benchmem $(BENCHFLAGS) $$($(GO) list ./... | grep -v /test/)

# The same load on the brokers that are installed here: make bench-peers ARGS='-out docs/benchmarks.md'.
bench-peers:
	$(GO) run ./scripts/bench-peers $(ARGS)

# What the stores do, beside the disk and the libraries alone: make bench-stores ARGS='-out docs/benchmarks.md'.
bench-stores: build
	$(GO) run ./scripts/bench-stores -stompserver bin/stompserver $(ARGS)

# Does it, tests included, compile for the systems that it is made for?
cross:
	@bad=; packages=$$($(GO) list ./... | grep -v /scripts/); for p in $(PLATFORMS); do \
		echo "$$p"; \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) vet $$packages || bad="$$bad $$p"; \
	done; \
	if [ -n "$$bad" ]; then echo "does not compile for:$$bad"; exit 1; fi

clean:
	rm -rf bin dist
