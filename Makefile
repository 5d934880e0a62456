# The two commands of the README. Everything else is CMake: see CMakePresets.json.
.PHONY: demo test deps build check-format help

help:
	@echo "make demo   install what is missing, build, and let the engine speak"
	@echo "make test   install what is missing, build, and run all tests"

deps:
	@tools/install_deps.sh

build: deps
	@tools/build.sh release

demo: deps
	@tools/build.sh release tutti
	@tools/demo.sh

test: build
	@tools/run_tests.sh release
