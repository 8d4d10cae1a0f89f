"""Random well-typed programs: control flow, calls, structs, arrays, slices, vectors and every operator.

A program is the text of a module with a few functions; the last, `root`, takes numbers and two slices,
writes into one of them and returns a number. Everything is decided by the seed. Arithmetic that may panic
is mixed with arithmetic that cannot, so that most programs run for a while before they panic, if they do.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

WIDTHS = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "i8": 8, "i16": 16, "i32": 32, "i64": 64}
INTEGERS = tuple(WIDTHS)
FLOATS = ("f32", "f64")
SCALARS = (*INTEGERS, *FLOATS, "bool")
VECTORS = (("u32", 4), ("i32", 8), ("f32", 4), ("u8", 16), ("i16", 8))
Write = Callable[[], str]
MEMBERS = ("RED", "GREEN", "BLUE")

PRELUDE = """
class Color(IntEnum):
    RED = 0
    GREEN = 1
    BLUE = 5

@struct
class Inner:
    n: i16
    x: f32

@struct
class Pair:
    a: u32
    b: i64
    flag: bool
    color: Color
    inner: Inner
    cells: Array[u8] = array(u8, 8)
    view: Slice[u32]

    def bump(self, by: u32) -> u32:
        self.a = wrapping_add(self.a, by)
        return self.a

primes = table(u32, [2, 3, 5, 7, 11, 13, 17, 19])
"""


@dataclass
class Scope:
    """The variables that a place in a program sees, by type."""

    names: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    fixed: frozenset[str] = frozenset()
    in_loop: bool = False

    def inner(self, in_loop: bool | None = None) -> "Scope":
        """Return the scope of a block inside."""
        copied = {kind: list(names) for kind, names in self.names.items()}
        return Scope(copied, self.fixed, self.in_loop if in_loop is None else in_loop)

    def add(self, kind: str, name: str) -> str:
        """Declare a variable."""
        self.names.setdefault(kind, []).append(name)
        return name


class Generator:
    """Writes one program."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._lines: list[str] = []
        self._count = 0
        self._helpers: list[tuple[str, list[str], str]] = []

    def program(self) -> str:
        """Return the text of a program."""
        self._lines = [*PRELUDE.strip("\n").split("\n")]
        for _ in range(self.random.randint(0, 3)):
            self._helper()
        result = self._pick(SCALARS)
        parameters = [("a", "u32"), ("b", "i64"), ("c", "f32"), ("d", "u8"), ("e", "bool")]
        written = ", ".join(f"{name}: {kind}" for name, kind in parameters)
        self._lines += ["", "@fn", f"def root({written}, s: Slice[u32], t: Slice[u8]) -> {result}:"]
        scope = Scope()
        for name, kind in parameters:
            scope.add(kind, name)
        scope.add("Slice[u32]", "s")
        scope.add("Slice[u8]", "t")
        self._aggregates(scope)
        self._block(scope, 1, self.random.randint(2, 6), result)
        self._line(1, f"return {self.expression(scope, result, 3)}")
        return "\n".join(self._lines) + "\n"

    # Choices

    def _pick(self, choices: "tuple[str, ...] | list[str]") -> str:
        return self.random.choice(choices)

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"

    def _line(self, depth: int, text: str) -> None:
        self._lines.append("    " * depth + text)

    # Functions and their variables

    def _helper(self) -> None:
        kinds = [self._pick(SCALARS) for _ in range(self.random.randint(1, 3))]
        result, name = self._pick(SCALARS), self._name("helper")
        inline = self._pick(["@fn", "@fn(inline='always')", "@fn(inline='never')"])
        scope = Scope()
        written = ", ".join(f"{scope.add(kind, f'p{i}')}: {kind}" for i, kind in enumerate(kinds))
        self._lines += ["", inline, f"def {name}({written}) -> {result}:"]
        self._block(scope, 1, self.random.randint(0, 3), result)
        self._line(1, f"return {self.expression(scope, result, 3)}")
        self._helpers.append((name, kinds, result))

    def _aggregates(self, scope: Scope) -> None:
        name = self._name("pair")
        fields = f"a={self.expression(scope, 'u32', 1)}, color=Color.{self._pick(MEMBERS)}, view=s"
        self._line(1, f"{name} = Pair({fields})")
        scope.add("Pair", name)
        if self._chance(0.4):
            other = self._name("pair")
            self._line(1, f"{other} = {name}")
            scope.add("Pair", other)
        element = self._pick(["u32", "u8", "i16", "f32"])
        numbers = self._name("numbers")
        self._line(1, f"{numbers} = array({element}, 8)")
        scope.add(f"Array[{element}]", numbers)

    # Statements

    def _block(self, scope: Scope, depth: int, count: int, result: str) -> None:
        for _ in range(count):
            self._statement(scope, depth, result)

    def _statement(self, scope: Scope, depth: int, result: str) -> None:
        kinds = [
            self._declare,
            self._declare,
            self._declare_vector,
            self._assign,
            self._augment,
            self._store,
        ]
        if depth < 4:
            kinds += [self._if, self._count_loop, self._while, self._unrolled, self._match, self._if]
        if depth > 1:
            kinds.append(self._leave)
        if self._chance(0.06):
            values = scope.names.get("u8", [])
            lucky = [f"{self._pick(values)} < {n}" for n in (0, 100, 255)] if values else ["u8(1) > 0"]
            self._line(
                depth, f"assert {self.expression(scope, 'bool', 2)} or {self._pick(lucky)}, 'unlucky'"
            )
            return
        self.random.choice(kinds)(scope, depth, result)

    def _declare(self, scope: Scope, depth: int, result: str) -> None:
        kind = self._pick(SCALARS)
        name = self._name("v")
        # Without one, `v = not True` would make a compile-time constant.
        annotation = f": {kind}" if kind == "bool" or self._chance(0.2) else ""
        self._line(depth, f"{name}{annotation} = {self.expression(scope, kind, self.random.randint(1, 3))}")
        scope.add(kind, name)

    def _declare_vector(self, scope: Scope, depth: int, result: str) -> None:
        element, lanes = self.random.choice(VECTORS)
        name = self._name("w")
        self._line(depth, f"{name} = {self.vector(scope, element, lanes, 2)}")
        scope.add(f"Vec[{element}, {lanes}]", name)

    def _variable(self, scope: Scope) -> tuple[str, str] | None:
        found = [
            (name, kind)
            for kind in SCALARS
            for name in scope.names.get(kind, [])
            if name not in scope.fixed
        ]
        return self.random.choice(found) if found else None

    def _assign(self, scope: Scope, depth: int, result: str) -> None:
        found = self._variable(scope)
        if found is not None:
            value = self.expression(scope, found[1], self.random.randint(1, 3))
            self._line(depth, f"{found[0]} = {value}")

    def _augment(self, scope: Scope, depth: int, result: str) -> None:
        found = self._variable(scope)
        places = [found] if found is not None else []
        places += [(f"{p}.a", "u32") for p in scope.names.get("Pair", [])]
        places += [(f"{s}[{self._index(scope, '8', 1)}]", "u32") for s in scope.names.get("Slice[u32]", [])]
        if not places:
            return
        place, kind = self.random.choice(places)
        if kind == "bool":
            return
        operators = ["+", "-", "*"] if kind in FLOATS else ["+", "-", "*", "&", "|", "^", "//", "%"]
        self._line(depth, f"{place} {self._pick(operators)}= {self._small(scope, kind)}")

    def _store(self, scope: Scope, depth: int, result: str) -> None:
        if "t" not in scope.names.get("Slice[u8]", []):
            return
        value, index = self.expression, self._index
        choices: list[Write] = [
            lambda: f"t[{index(scope, 't.length', 2)}] = {value(scope, 'u8', 2)}",
            lambda: f"s[{index(scope, 's.length', 2)}] = {value(scope, 'u32', 2)}",
            lambda: f"vstore(s, {index(scope, '5', 1)}, {self.vector(scope, 'u32', 4, 2)})",
            lambda: f"store_bytes(t, {index(scope, '13', 1)}, {value(scope, 'u32', 2)})",
            lambda: "copy(t.part(0, 4), t.part(2, 4))",
            lambda: f"fill_zero(s.part({index(scope, '4', 1)}, 2))",
        ]
        pair = self._pick(scope.names["Pair"])
        choices += [
            lambda: f"{pair}.a = {value(scope, 'u32', 2)}",
            lambda: f"{pair}.b = {value(scope, 'i64', 2)}",
            lambda: f"{pair}.flag = {value(scope, 'bool', 2)}",
            lambda: f"{pair}.color = Color.{self._pick(MEMBERS)}",
            lambda: f"{pair}.inner.n = {value(scope, 'i16', 2)}",
            lambda: f"{pair}.inner = Inner(n={value(scope, 'i16', 1)})",
            lambda: f"{pair}.cells[{index(scope, '8', 1)}] = {value(scope, 'u8', 2)}",
            lambda: f"{pair}.view = {pair}.view.part({index(scope, '4', 1)}, 2)",
            lambda: f"{pair}.bump({value(scope, 'u32', 2)})",
        ]
        for kind, names in scope.names.items():
            if kind.startswith("Array["):
                element, name = kind[6:-1], names[0]
                choices.append(
                    lambda e=element, n=name: f"{n}[{index(scope, '8', 1)}] = {value(scope, e, 2)}"
                )
        self._line(depth, self.random.choice(choices)())

    def _if(self, scope: Scope, depth: int, result: str) -> None:
        self._line(depth, f"if {self.expression(scope, 'bool', self.random.randint(1, 3))}:")
        self._inside(scope.inner(), depth, result)
        if self._chance(0.3):
            self._line(depth, f"elif {self.expression(scope, 'bool', 2)}:")
            self._inside(scope.inner(), depth, result)
        if self._chance(0.5):
            self._line(depth, "else:")
            self._inside(scope.inner(), depth, result)

    def _inside(self, scope: Scope, depth: int, result: str) -> None:
        self._block(scope, depth + 1, self.random.randint(1, 3), result)
        self._line(depth + 1, "pass")

    def _count_loop(self, scope: Scope, depth: int, result: str) -> None:
        kind = self._pick(INTEGERS)
        name = self._name("n")
        bounds = self._pick(
            [
                f"{kind}({self.random.randint(0, 6)})",
                f"{kind}(1), {kind}({self.random.randint(0, 9)}), {self.random.randint(1, 4)}",
                f"{self.expression(scope, kind, 1)} & 7" if kind[0] == "u" else f"{kind}(-3), {kind}(3), 2",
            ]
        )
        self._line(depth, f"for {name} in urange({bounds}):")
        inner = scope.inner(in_loop=True)
        inner.add(kind, name)
        self._inside(inner, depth, result)

    def _while(self, scope: Scope, depth: int, result: str) -> None:
        name = self._name("k")
        self._line(depth, f"{name} = u32(0)")
        self._line(
            depth, f"while {name} < {self.random.randint(1, 5)} and {self.expression(scope, 'bool', 2)}:"
        )
        self._line(depth + 1, f"{name} += 1")
        inner = scope.inner(in_loop=True)
        inner.add("u32", name)
        inner.fixed |= {name}
        self._inside(inner, depth, result)

    def _unrolled(self, scope: Scope, depth: int, result: str) -> None:
        name, total = self._name("c"), self._variable(scope)
        self._line(depth, f"for {name} in static(range({self.random.randint(1, 4)})):")
        if total is not None and total[1] in INTEGERS:
            self._line(depth + 1, f"{total[0]} = wrapping_add({total[0]}, {total[1]}({name} + 1))")
        self._line(depth + 1, f"t[{name}] = t[{name} + 1] ^ {name}" if self._has(scope, "t") else "pass")

    def _has(self, scope: Scope, name: str) -> bool:
        return any(name in names for names in scope.names.values())

    def _match(self, scope: Scope, depth: int, result: str) -> None:
        pairs = scope.names.get("Pair", [])
        if pairs and self._chance(0.5):
            self._line(depth, f"match {pairs[0]}.color:")
            cases = [f"Color.{member}" for member in MEMBERS]
            if self._chance(0.4):
                cases = ["Color.RED | Color.BLUE", "_"]
        else:
            self._line(depth, f"match {self.expression(scope, 'u8', 1)} & 3:")
            cases = ["0", "1 | 2", "_"]
        for case in cases:
            self._line(depth + 1, f"case {case}:")
            self._inside(scope.inner(), depth + 1, result)

    def _leave(self, scope: Scope, depth: int, result: str) -> None:
        choices = [f"return {self.expression(scope, result, 2)}"]
        if scope.in_loop:
            choices += ["break", "continue"] * 2
        self._line(depth, f"if {self.expression(scope, 'bool', 2)}:")
        self._line(depth + 1, self._pick(choices))

    # Expressions

    def _index(self, scope: Scope, count: str, depth: int) -> str:
        """Return an index below `count`, or now and then any index."""
        value = self.expression(scope, self._pick(["u8", "u32", "u64"]), depth - 1)
        return f"u64({value}) % {16 if self._chance(0.05) else count}"

    def _small(self, scope: Scope, kind: str) -> str:
        if kind in FLOATS:
            return f"{kind}({self.random.choice([0.5, 1.25, -3.0, 1e3, 0.0])})"
        return f"({self.expression(scope, kind, 1)} & 3)"

    def _literal(self, kind: str) -> str:
        if kind == "bool":
            return self._pick(["True", "False"])
        if kind in FLOATS:
            return f"{kind}({self.random.choice([0.0, 1.0, -1.5, 0.1, 3.25e5, 1e-3, -7.0, 2.0**40])})"
        bits = WIDTHS[kind]
        low, high = (0, 2**bits - 1) if kind[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        usual = [self.random.randint(0, 9), self.random.randint(max(low, -100), 100), low, high, high // 3]
        return f"{kind}({self.random.choice(usual)})"

    def expression(self, scope: Scope, kind: str, depth: int) -> str:
        """Return an expression of a scalar type."""
        names = scope.names.get(kind, [])
        if depth <= 0 or self._chance(0.15):
            return self._pick(names) if names and self._chance(0.8) else self._literal(kind)
        helpers = [h for h in self._helpers if h[2] == kind]
        if helpers and self._chance(0.1):
            name, kinds, _ = self.random.choice(helpers)
            return f"{name}({', '.join(self.expression(scope, k, depth - 1) for k in kinds)})"
        if self._chance(0.08):
            yes, no = (self.expression(scope, kind, depth - 1) for _ in range(2))
            return f"({yes} if {self.expression(scope, 'bool', depth - 1)} else {no})"
        if kind == "bool":
            return self._truth(scope, depth)
        return self._float(scope, kind, depth) if kind in FLOATS else self._integer(scope, kind, depth)

    def _truth(self, scope: Scope, depth: int) -> str:
        if self._chance(0.4):
            left, right = (self.expression(scope, "bool", depth - 1) for _ in range(2))
            return self._pick([f"({left} and {right})", f"({left} or {right})", f"(not {left})"])
        if self._chance(0.1):
            return f"any_lane({self.vector(scope, 'i32', 8, depth - 1)} > {self.random.randint(-5, 5)})"
        pairs = scope.names.get("Pair", [])
        if pairs and self._chance(0.2):
            return self._pick([f"{pairs[-1]}.flag", f"({pairs[0]}.color == Color.{self._pick(MEMBERS)})"])
        kind = self._pick((*INTEGERS, *FLOATS))
        left, right = (self.expression(scope, kind, depth - 1) for _ in range(2))
        return f"({left} {self._pick(['<', '<=', '>', '>=', '==', '!='])} {right})"

    def _float(self, scope: Scope, kind: str, depth: int) -> str:
        def part(of: str = kind) -> str:
            return self.expression(scope, of, depth - 1)

        other = "f64" if kind == "f32" else "f32"
        choices: list[Write] = [lambda op=op: f"({part()} {op} {part()})" for op in "+-*/"]
        choices += [
            lambda: f"(-{part()})",
            lambda: f"minimum({part()}, {part()})",
            lambda: f"maximum({part()}, {part()})",
            lambda: f"square_root(absolute({part()}))",
            lambda: f"round_even({part()})",
            lambda: f"{kind}({part(other)})",
            lambda: f"{kind}({part(self._pick(INTEGERS))})",
        ]
        if kind == "f32":
            choices.append(lambda: f"fma({part()}, {part()}, {part()})")
            choices.append(lambda: f"reduce_add({self.vector(scope, 'f32', 4, depth - 1)})")
            choices += [lambda pair=pair: f"{pair}.inner.x" for pair in scope.names.get("Pair", [])]
        return self.random.choice(choices)()

    def _integer(self, scope: Scope, kind: str, depth: int) -> str:
        def part(of: str = kind) -> str:
            return self.expression(scope, of, depth - 1)

        if self._chance(0.03):
            return self._pick([f"{kind}({part(self._pick(FLOATS))})", f"(-{part()})"])
        choices: list[Write] = [
            lambda op=op: f"wrapping_{op}({part()}, {part()})" for op in ("add", "sub", "mul")
        ]
        choices += [
            lambda op=op: f"({part()} {op} {part()})" for op in ("&", "|", "^", "&", "+", "-", "//", "%")
        ]
        choices += [
            lambda: f"({part()} & 15) * ({part()} & 3)",
            lambda: f"({part()} >> ({part()} & 7))",
            lambda: f"({part()} << ({part()} & 7))",
            lambda: f"(~{part()})",
            lambda: f"minimum({part()}, {part()})",
            lambda: f"maximum({part()}, {part()})",
            lambda: f"truncate({kind}, {part(self._pick(INTEGERS))})",
            lambda: f"truncate({kind}, {part(self._pick(INTEGERS))})",
            lambda: f"{kind}({part(self._pick(INTEGERS))} & 63)",
            lambda: f"{kind}({part('bool')})",
            lambda: f"population_count({part()})",
            lambda: f"leading_zeros({part()})",
            lambda: f"trailing_zeros({part()})",
        ]
        reads = self._reads(scope, kind, depth)
        return self.random.choice(reads if reads and self._chance(0.4) else choices)()

    def _reads(self, scope: Scope, kind: str, depth: int) -> list[Write]:
        """Return reads of memory and of lanes that give this type."""
        made: list[Write] = []

        def index(count: str) -> str:
            return self._index(scope, count, depth - 1)

        for held, names in scope.names.items():
            if held in (f"Slice[{kind}]", f"Array[{kind}]"):
                made += [lambda n=name: f"{n}[{index(f'{n}.length')}]" for name in names]
        for pair in scope.names.get("Pair", []):
            fields = {"u32": f"{pair}.a", "i64": f"{pair}.b", "i16": f"{pair}.inner.n"}
            if kind in fields:
                made.append(lambda f=fields[kind]: f)
            if kind == "u8":
                made.append(lambda p=pair: f"{p}.cells[{index('8')}]")
            if kind == "u32":
                made.append(lambda p=pair: f"{p}.view[{index('2')}]")
                made.append(lambda p=pair: f"{p}.bump(u32(3))")
        for element, lanes in VECTORS:
            if element == kind:
                made += [
                    lambda e=element, n=lanes: f"reduce_add({self.vector(scope, e, n, depth - 1)})",
                    lambda e=element, n=lanes: f"reduce_max({self.vector(scope, e, n, depth - 1)})",
                    lambda e=element, n=lanes: (
                        f"extract({self.vector(scope, e, n, depth - 1)}, {self.random.randrange(n)})"
                    ),
                ]
        if kind == "u32":
            made.append(lambda: f"primes[{index('8')}]")
        if self._has(scope, "t") and kind in ("u16", "i32", "u64"):
            made.append(lambda: f"load_bytes({kind}, t, {index('9')})")
        if kind == "u64":
            made.append(
                lambda: f"multiply_high({self._literal(kind)}, {self.expression(scope, kind, depth - 1)})"
            )
        return made

    def vector(self, scope: Scope, element: str, lanes: int, depth: int) -> str:
        """Return an expression of a vector type."""

        def part(of: str = element, count: int = lanes) -> str:
            return self.vector(scope, of, count, depth - 1)

        names = scope.names.get(f"Vec[{element}, {lanes}]", [])
        if names and self._chance(0.5):
            return self._pick(names)
        if depth <= 0:
            return f"splat({element}, {lanes}, {self.expression(scope, element, 0)})"
        order = tuple(self.random.randrange(lanes) for _ in range(lanes))
        choices: list[Write] = [lambda op=op: f"({part()} {op} {part()})" for op in "+-*"]
        choices += [
            lambda: f"splat({element}, {lanes}, {self.expression(scope, element, depth - 1)})",
            lambda: f"lane_numbers({element}, {lanes})",
            lambda: f"minimum({part()}, {part()})",
            lambda: f"maximum({part()}, {part()})",
            lambda: f"select({part()} < {part()}, {part()}, {part()})",
            lambda: f"shuffle({part()}, {order})",
            lambda: f"(-{part()})",
        ]
        if element == "f32":
            choices.append(lambda: f"convert(f32, {part('u32', 4)})")
        else:
            shift = self.random.randrange(WIDTHS[element])
            choices += [lambda op=op: f"({part()} {op} {part()})" for op in "&|^"]
            choices.append(lambda: f"({part()} {self._pick(['<<', '>>'])} {shift})")
        if element == "u32" and self._has(scope, "s"):
            choices.append(lambda: f"vload(s, {self._index(scope, '5', depth)}, 4)")
        if element == "u8" and self._has(scope, "t"):
            choices.append(lambda: f"vload_bytes(u8, 16, t, {self._index(scope, '2', depth)})")
        return self.random.choice(choices)()
