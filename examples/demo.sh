#!/usr/bin/env bash
# What `make demo` runs: index the sample folder, then ask three questions whose words are not in their answers.
set -euo pipefail
cd "$(dirname "$0")/library"

run() {
    printf '\n$ %s\n' "$(printf '%q ' "$@")"
    "$@"
}

ask() {
    printf '\n$ searchengine query "%s" -k 1\n' "$1"
    searchengine query "$1" -k 1
}

run searchengine index .
ask "why is my attic wet since we put fibreglass in?"
ask "rescue a sailor who tumbled into the waves"
ask "what were seamstresses' wages during wartime?"
printf '\nThe index is examples/library/.searchengine; ask it more:\n'
printf '  .venv/bin/searchengine query "when did trains vanish from here?" --index examples/library\n'
