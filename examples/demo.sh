#!/usr/bin/env bash
# What `make demo` runs: index the sample folder, then ask three questions whose words are not in their answers.
set -euo pipefail
cd "$(dirname "$0")/library"

run() {
    printf '\n$ %s\n' "$*"
    "${@}"
}

run searchengine index .
run searchengine query "why is my attic wet since we put fibreglass in?" -k 1
run searchengine query "rescue a sailor who tumbled into the waves" -k 1
run searchengine query "what were seamstresses' wages during wartime?" -k 1
printf '\nThe index is examples/library/.searchengine; ask it more:\n'
printf '  .venv/bin/searchengine query "when did trains vanish from here?" --index examples/library\n'
