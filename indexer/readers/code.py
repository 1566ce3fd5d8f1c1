"""Source code: text as it stands, with the name of its tree-sitter grammar. Parses nothing."""

from __future__ import annotations

import os
import re

from indexer.documents import Document
from indexer.readers.decode import Note, decode

EXTENSIONS = {
    "python": ".py .pyi .pyw",
    "javascript": ".js .mjs .cjs .jsx",
    "typescript": ".ts .mts .cts",
    "tsx": ".tsx",
    "rust": ".rs",
    "go": ".go",
    "java": ".java",
    "c": ".c .h",
    "cpp": ".cpp .cc .cxx .hpp .hh .hxx .ipp .cu .cuh",
    "csharp": ".cs",
    "ruby": ".rb .rake .gemspec",
    "php": ".php",
    "bash": ".sh .bash .zsh .ksh",
    "fish": ".fish",
    "powershell": ".ps1 .psm1",
    "sql": ".sql",
    "kotlin": ".kt .kts",
    "swift": ".swift",
    "scala": ".scala .sc",
    "lua": ".lua",
    "perl": ".pl .pm",
    "r": ".r",
    "julia": ".jl",
    "haskell": ".hs",
    "ocaml": ".ml",
    "elixir": ".ex .exs",
    "erlang": ".erl .hrl",
    "clojure": ".clj .cljs .cljc",
    "dart": ".dart",
    "zig": ".zig",
    "objc": ".mm",
    "proto": ".proto",
    "vue": ".vue",
    "svelte": ".svelte",
    "css": ".css",
    "scss": ".scss",
    "elisp": ".el",
    "cmake": ".cmake",
    "groovy": ".groovy .gradle",
    "hcl": ".hcl .tf",
    "nix": ".nix",
    "fortran": ".f90 .f95 .f03",
    "make": ".mk",
}
GRAMMARS = {suffix: grammar for grammar, suffixes in EXTENSIONS.items() for suffix in suffixes.split()}
NAMED_FILES = {
    "makefile": "make",
    "gnumakefile": "make",
    "dockerfile": "dockerfile",
    "containerfile": "dockerfile",
    "cmakelists.txt": "cmake",
    "rakefile": "ruby",
    "gemfile": "ruby",
}
INTERPRETERS = {
    "python": "python",
    "sh": "bash",
    "bash": "bash",
    "zsh": "bash",
    "dash": "bash",
    "ksh": "bash",
    "node": "javascript",
    "ruby": "ruby",
    "perl": "perl",
    "php": "php",
    "lua": "lua",
}
SHEBANG = re.compile(r"#!\s*(?:\S*/env\s+(?:-\S+\s+)*)?(?:\S*/)?([a-zA-Z]+)")


def grammar_of(name: str, first_line: str) -> str:
    """Return the tree-sitter grammar for a file name, else for the interpreter its first line names, else ""."""
    base = os.path.basename(name).lower()
    known = NAMED_FILES.get(base) or GRAMMARS.get(os.path.splitext(base)[1])
    if known:
        return known
    shebang = SHEBANG.match(first_line)
    return INTERPRETERS.get(shebang[1], "") if shebang else ""


def read_code(data: bytes, name: str, note: Note) -> list[Document]:
    """Read a source file as it stands; a script whose interpreter is unknown is plain text."""
    text = decode(data, note)
    grammar = grammar_of(name, text.partition("\n")[0])
    return [Document("", text, kind="code" if grammar else "text", grammar=grammar, first_line=1, lined=True)]
