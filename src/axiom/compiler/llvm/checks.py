"""Which checks the optimiser left in a module: calls of the panic handler, by their place in the source."""

import re

from axiom.compiler.llvm.module import PANIC, CheckSite
from axiom.lang.panic import PanicReason

_CALL = re.compile(rf"call void @{PANIC}\(i32 (?P<reason>\d+),.*!dbg !(?P<place>\d+)")
_LOCATION = re.compile(
    r"^!(?P<node>\d+) = (?:distinct )?!DILocation\(line: (?P<line>\d+),"
    r"(?: column: (?P<column>\d+),)? scope: !(?P<scope>\d+)"
)
_SCOPE = re.compile(r"^!(?P<node>\d+) = distinct !DISubprogram\(.*?file: !(?P<file>\d+)")
_FILE = re.compile(r'^!(?P<node>\d+) = !DIFile\(filename: "(?P<name>[^"]*)"')


def checks_left(text: str) -> list[CheckSite]:
    """Return one site for each call of the panic handler in optimised LLVM text; inlining makes copies."""
    calls: list[tuple[int, str]] = []
    places: dict[str, tuple[int, int, str]] = {}
    scopes: dict[str, str] = {}
    files: dict[str, str] = {}
    for line in text.splitlines():
        if found := _CALL.search(line):
            calls.append((int(found["reason"]), found["place"]))
        elif found := _LOCATION.match(line):
            places[found["node"]] = (int(found["line"]), int(found["column"] or 0), found["scope"])
        elif found := _SCOPE.match(line):
            scopes[found["node"]] = found["file"]
        elif found := _FILE.match(line):
            files[found["node"]] = found["name"]
    left: list[CheckSite] = []
    for reason, place in calls:
        at, column, scope = places[place]
        left.append((PanicReason(reason), files[scopes[scope]], at, column))
    return left
