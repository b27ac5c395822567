# Installs the command, its shim, the C library, man pages and completions.
#
#     make install [PREFIX=/usr/local] [LIBDIR=] [DESTDIR=] [PROFILE=release|profiling|dev]
#     make uninstall [PREFIX=/usr/local] [DESTDIR=]
#
# Needs cargo and a C compiler. Libraries go to $(LIBDIR); the shim, which nobody
# links, to $(LIBDIR)/lastbyte, where the command looks for it if LIBDIR is lib, lib64 or
# Debian's lib/x86_64-linux-gnu beside BINDIR. The release profile strips; profiling does not.

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share
PROFILE ?= release
CARGO ?= cargo
INSTALL ?= install
STRIP ?= strip

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
MAJOR := $(firstword $(subst ., ,$(VERSION)))
CARGO_TARGET_DIR ?= target
OUT := $(CARGO_TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
LIBRARY := liblastbyte.so.$(VERSION)

.PHONY: build install uninstall

build:
	$(CARGO) build --profile $(PROFILE) -p lastbyte-cli -p lastbyte-run-shim -p lastbyte-capi

install: build
	$(INSTALL) -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBDIR)/lastbyte $(DESTDIR)$(LIBDIR)/pkgconfig \
		$(DESTDIR)$(INCLUDEDIR) $(DESTDIR)$(DATADIR)/man/man1 \
		$(DESTDIR)$(DATADIR)/bash-completion/completions $(DESTDIR)$(DATADIR)/zsh/site-functions \
		$(DESTDIR)$(DATADIR)/fish/vendor_completions.d
	$(INSTALL) -m 755 $(OUT)/lastbyte $(DESTDIR)$(BINDIR)/lastbyte
	$(INSTALL) -m 755 $(OUT)/liblastbyte_run_shim.so $(DESTDIR)$(LIBDIR)/lastbyte/
	$(INSTALL) -m 755 $(OUT)/liblastbyte_capi.so $(DESTDIR)$(LIBDIR)/$(LIBRARY)
	ln -sf $(LIBRARY) $(DESTDIR)$(LIBDIR)/liblastbyte.so.$(MAJOR)
	ln -sf liblastbyte.so.$(MAJOR) $(DESTDIR)$(LIBDIR)/liblastbyte.so
	$(INSTALL) -m 644 $(OUT)/liblastbyte_capi.a $(DESTDIR)$(LIBDIR)/liblastbyte.a
	$(STRIP) --strip-debug $(DESTDIR)$(LIBDIR)/liblastbyte.a
	$(INSTALL) -m 644 crates/lastbyte-capi/include/lastbyte.h $(DESTDIR)$(INCLUDEDIR)/
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
		-e 's|@VERSION@|$(VERSION)|' crates/lastbyte-capi/lastbyte.pc.in \
		> $(DESTDIR)$(LIBDIR)/pkgconfig/lastbyte.pc
	$(OUT)/lastbyte man $(DESTDIR)$(DATADIR)/man/man1
	$(OUT)/lastbyte completions bash > $(DESTDIR)$(DATADIR)/bash-completion/completions/lastbyte
	$(OUT)/lastbyte completions zsh > $(DESTDIR)$(DATADIR)/zsh/site-functions/_lastbyte
	$(OUT)/lastbyte completions fish > $(DESTDIR)$(DATADIR)/fish/vendor_completions.d/lastbyte.fish

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/lastbyte $(DESTDIR)$(LIBDIR)/lastbyte/liblastbyte_run_shim.so \
		$(DESTDIR)$(LIBDIR)/$(LIBRARY) $(DESTDIR)$(LIBDIR)/liblastbyte.so.$(MAJOR) \
		$(DESTDIR)$(LIBDIR)/liblastbyte.so $(DESTDIR)$(LIBDIR)/liblastbyte.a \
		$(DESTDIR)$(INCLUDEDIR)/lastbyte.h $(DESTDIR)$(LIBDIR)/pkgconfig/lastbyte.pc \
		$(DESTDIR)$(DATADIR)/man/man1/lastbyte*.1 \
		$(DESTDIR)$(DATADIR)/bash-completion/completions/lastbyte \
		$(DESTDIR)$(DATADIR)/zsh/site-functions/_lastbyte \
		$(DESTDIR)$(DATADIR)/fish/vendor_completions.d/lastbyte.fish
	-rmdir $(DESTDIR)$(LIBDIR)/lastbyte
