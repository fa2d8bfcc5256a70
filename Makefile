# Each target is one command of `raftnow`; set-up runs by itself, and does nothing when it is done.

PYTHON ?= python3
RAFTNOW = build/venv/bin/raftnow
SETUP = @$(PYTHON) tools/bootstrap.py
RUNS ?= 200
MINUTES ?= 2
# Without a screen, the demo speaks in lines, and needs no Qt.
SCREEN = $(if $(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin,$(shell uname)),viewer)

.PHONY: help demo test smoke viewer sim fuzz shrink explore mutants parsers coverage soak bench rewrite lint pictures clean

help:      ## this list
	@sed -n 's/^\([a-z]*\): *## */\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo:      ## five virtual boards, a collector and the viewer, on this computer
	$(SETUP) $(SCREEN)
	@$(RAFTNOW) demo

test:      ## all tests
	$(SETUP) viewer dev
	@build/venv/bin/python -m pytest

smoke:     ## the demo without a window: elect, write, kill the leader, write, kill all, read back
	$(SETUP)
	@$(RAFTNOW) smoke

viewer:    ## the viewer against real boards
	$(SETUP) viewer
	@$(RAFTNOW) viewer

sim:       ## one calm run of the simulator, for its speed; SEED=n: one with faults
	$(SETUP)
	@$(RAFTNOW) sim $(if $(SEED),--faults --seed $(SEED))

fuzz:      ## RUNS=n runs of the simulator with faults, on all cores, to the first violation
	$(SETUP)
	@$(RAFTNOW) fuzz --runs $(RUNS)

shrink:    ## SEED=n, a run of fuzz that breaks something, as a short scenario; OUT=file
	$(SETUP)
	@$(RAFTNOW) shrink $(SEED) $(if $(OUT),--out $(OUT))

explore:   ## all that three cores can come to, up to STATES=n or SECONDS=n
	$(SETUP)
	@$(RAFTNOW) explore $(if $(STATES),--states $(STATES)) $(if $(SECONDS),--seconds $(SECONDS))

mutants:   ## broken cores, each of which must be noticed; FULL=1: by every scenario; ONLY=words
	$(SETUP) dev
	@$(RAFTNOW) mutants $(if $(FULL),--full) $(if $(ONLY),--only "$(ONLY)")

parsers:   ## SECONDS=n of odd input for all that takes in bytes, on both interpreters
	$(SETUP)
	@$(RAFTNOW) parsers $(if $(SECONDS),--seconds $(SECONDS))

soak:      ## MINUTES=n of faults on five virtual boards in real time, and what clients saw, judged
	$(SETUP)
	@$(RAFTNOW) soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

pictures:  ## the pictures in docs/, made from the running demo
	$(SETUP) viewer dev
	@$(RAFTNOW) pictures

coverage:  ## how much of raft/ the scenarios and the fuzzing run, statements and branches
	$(SETUP) dev
	@$(RAFTNOW) coverage

bench:     ## tables of what radio and protocol cost; NAME=airtime: only that
	$(SETUP)
	@$(RAFTNOW) bench $(if $(NAME),--name $(NAME))

rewrite:   ## what docs/ and the scenarios take from the code; read the diff before you commit
	$(SETUP)
	@$(RAFTNOW) rewrite

lint:      ## ruff
	$(SETUP) dev
	@build/venv/bin/ruff check .

clean:     ## remove build/
	rm -rf build
