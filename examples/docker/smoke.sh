#!/bin/sh
# What a new image must do: docker run --rm --entrypoint e2h-smoke e2h
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
e2h doctor --run-dir "$folder"
e2h split --scale tiny --run-dir "$folder/run"
test -s "$folder/run/split/test.jsonl"
e2h ls "$folder/run"
echo "smoke test passed"
