"""Code of one function: statements and expressions as LLVM instructions.

Locals live in stack slots that LLVM promotes to registers. A bool is i1 as a value and one byte in
memory. A struct or an array is a pointer; one that is returned is copied to where the caller says.
"""

from collections.abc import Callable
from typing import Any

from axiom.compiler import ir
from axiom.compiler.llvm.instructions import InstructionWriter
from axiom.compiler.llvm.module import Module
from axiom.compiler.llvm.names import PAIR, constant, memory_name, type_name
from axiom.compiler.types import VOID, ArrayRefType, ScalarType, StructType, Type, referred_size
from axiom.lang.layout import align_of, size_of
from axiom.lang.panic import PanicReason

Emit = Callable[["FunctionEmitter", ir.Expression], str]

LARGE_BYTES = 256


class FunctionEmitter(InstructionWriter):
    """Writes one instance into a module."""

    def __init__(self, module: Module, instance: ir.Instance, operation: Emit) -> None:
        super().__init__(module, module.debug.function(instance), instance.span)
        self.instance = instance
        self._operation = operation
        self._slots: dict[str, str] = {}
        self._loops: list[tuple[str, str]] = []

    def write(self) -> None:
        """Write the whole function into the module."""
        instance = self.instance
        exported = bool(instance.options.export)
        parameters: list[str] = []
        aggregate = isinstance(instance.result, (StructType, ArrayRefType))
        if aggregate:
            parameters.append("ptr %result")
        for number, parameter in enumerate(instance.parameters, 1):
            kind = type_name(parameter.type)
            # The processor pushes its frame where a caller would put a struct passed by value.
            pushed = instance.options.interrupt and isinstance(parameter.type, StructType)
            place = f"ptr byval([{referred_size(parameter.type)} x i8]) align 8" if pushed else kind
            parameters.append(f"{place} %p{number}")
            slot = self._local_slot(parameter.name, parameter.type, number)
            # Without a line, so that a debugger takes it for the prologue and stops behind it.
            self.lines.append(f"  store {kind} %p{number}, ptr {slot}")
        self.statements(instance.body)
        if not self.ended:
            self.emit("ret void" if instance.result == VOID or aggregate else "unreachable")
        self.module.define(instance.symbol)
        entered = " x86_intrcc" if instance.options.interrupt else ""
        linkage = f"dso_local{entered}" if exported else "fastcc" if instance.kept else "internal fastcc"
        result = "void" if aggregate else type_name(instance.result)
        attributes = self.module.attributes(instance)
        head = (
            f'define {linkage} {result} @"{instance.symbol}"({", ".join(parameters)}) {attributes} '
            f"{self.module.section}!dbg !{self.scope} {{\nentry:"
        )
        self.module.functions += [head, *self.entry, *self.lines, *self.cold, "}"]

    def _local_slot(self, name: str, kind: Type, argument: int = 0) -> str:
        if name not in self._slots:
            slot = self._slots[name] = self.slot(type_name(kind))
            if "." not in name:
                node = self.module.debug.variable(name, kind, argument, self.span, self.scope)
                location = self.module.debug.location(self.span, self.scope)
                self.lines.append(f"    #dbg_declare(ptr {slot}, !{node}, !DIExpression(), !{location})")
        return self._slots[name]

    # Statements

    def statements(self, body: list[ir.Statement]) -> None:
        """Write statements in order; what cannot be reached is left out."""
        for statement in body:
            if self.ended:
                return
            self.span = statement.span
            self._statement(statement)

    def _statement(self, statement: ir.Statement) -> None:
        match statement:
            case ir.Assign(_, name, expression):
                value = self.expression(expression)
                self.span = statement.span
                slot = self._local_slot(name, expression.type)
                self.emit(f"store {type_name(expression.type)} {value}, ptr {slot}")
            case ir.Store(_, place, expression):
                self._store(place, expression)
            case ir.Evaluate(_, expression):
                self.expression(expression)
            case ir.If():
                self._if(statement)
            case ir.While():
                self._while(statement)
            case ir.CountLoop():
                self._count_loop(statement)
            case ir.Return(_, expression):
                self._return(expression)
            case ir.Break():
                self.branch(self._loops[-1][1])
            case ir.Continue():
                self.branch(self._loops[-1][0])
            case ir.Assert(_, condition, message):
                held = self.expression(condition)
                self.require(held, PanicReason.ASSERT, message=message)
            case _:
                raise TypeError(f"no code for {statement}")

    def _store(self, place: ir.Field | ir.Element, expression: ir.Expression) -> None:
        if isinstance(expression.type, (StructType, ArrayRefType)):
            source = self.expression(expression)
            self.copy(self.address(place), source, size_of(place.element))
            return
        value = self.expression(expression)
        self.store_to(self.address(place), place.element, value, place.volatile)

    def store_to(self, address: str, element: Any, value: str, volatile: bool = False) -> None:
        """Store a value as an element in memory."""
        if element is bool:
            value = self.value(f"zext i1 {value} to i8")
        mark = "volatile " if volatile else ""
        self.emit(f"store {mark}{memory_name(element)} {value}, ptr {address}, align {align_of(element)}")

    def load_from(self, address: str, element: Any, volatile: bool = False) -> str:
        """Load an element from memory as a value."""
        mark = "volatile " if volatile else ""
        raw = self.value(f"load {mark}{memory_name(element)}, ptr {address}, align {align_of(element)}")
        return self.value(f"icmp ne i8 {raw}, 0") if element is bool else raw

    def copy(self, target: str, source: str, size: int) -> None:
        """Copy bytes; the places may be the same."""
        arguments = [("ptr", target), ("ptr", source), ("i64", str(size)), ("i1", "false")]
        self.intrinsic("llvm.memmove.p0.p0.i64", "void", arguments)

    def zero(self, target: str, size: int) -> None:
        """Set bytes to zero."""
        arguments = [("ptr", target), ("i8", "0"), ("i64", str(size)), ("i1", "false")]
        self.intrinsic("llvm.memset.p0.i64", "void", arguments)

    def _if(self, statement: ir.If) -> None:
        yes, no, end = self.label(), self.label(), self.label()
        self.branch_if(self.expression(statement.condition), yes, no)
        ended: list[bool] = []
        for label, body in ((yes, statement.yes), (no, statement.no)):
            self.block(label)
            self.statements(body)
            ended.append(self.ended)
            if not self.ended:
                self.branch(end)
        if all(ended):
            self.ended = True
        else:
            self.block(end)

    def _while(self, statement: ir.While) -> None:
        head, body, end = self.label(), self.label(), self.label()
        self.branch(head)
        self.block(head)
        if statement.condition is None:
            self.branch(body)
        else:
            self.branch_if(self.expression(statement.condition), body, end)
        self.block(body)
        self._loops.append((head, end))
        self.statements(statement.body)
        self._loops.pop()
        if not self.ended:
            self.branch(head)
        self.block(end)
        if statement.condition is None and not _has_break(statement.body):
            self.emit("unreachable")
            self.ended = True

    def _count_loop(self, statement: ir.CountLoop) -> None:
        """The counter is private; the variable gets its value at the start of each round."""
        kind = statement.start.type
        assert isinstance(kind, ScalarType)
        name, prefix = type_name(kind), "s" if kind.integer.signed else "u"
        counter = self.slot(name)
        start, stop = self.expression(statement.start), self.expression(statement.stop)
        self.emit(f"store {name} {start}, ptr {counter}")
        head, body, step, end = self.label(), self.label(), self.label(), self.label()
        self.branch(head)
        self.block(head)
        now = self.value(f"load {name}, ptr {counter}")
        self.branch_if(self.value(f"icmp {prefix}lt {name} {now}, {stop}"), body, end)
        self.block(body)
        variable = self._local_slot(statement.name, kind)
        self.emit(f"store {name} {now}, ptr {variable}")
        self._loops.append((step, end))
        self.statements(statement.body)
        self._loops.pop()
        if not self.ended:
            self.branch(step)
        self.span = statement.span
        self.block(step)
        self._advance(statement, kind, counter, stop, end, head)
        self.block(end)

    def _advance(
        self, statement: ir.CountLoop, kind: ScalarType, counter: str, stop: str, end: str, head: str
    ) -> None:
        name, signed, step = type_name(kind), kind.integer.signed, statement.step
        loop = f", !llvm.loop !{self.module.debug.rolled_loop()}" if statement.rolled else ""
        now = self.value(f"load {name}, ptr {counter}")
        if step == 1:
            following = self.value(f"add {'nsw' if signed else 'nuw'} {name} {now}, 1")
            self.emit(f"store {name} {following}, ptr {counter}")
            self.branch(head, loop)
            return
        left = self.value(f"sub {name} {stop}, {now}")
        more = self.value(f"icmp ugt {name} {left}, {step}")
        go = self.label()
        self.branch_if(more, go, end)
        self.block(go)
        following = self.value(f"add {'nsw' if signed else 'nuw'} {name} {now}, {step}")
        self.emit(f"store {name} {following}, ptr {counter}")
        self.branch(head, loop)

    def _return(self, expression: ir.Expression | None) -> None:
        if expression is None:
            self.emit("ret void")
        elif isinstance(expression.type, (StructType, ArrayRefType)):
            self.copy("%result", self.expression(expression), referred_size(expression.type))
            self.emit("ret void")
        else:
            value = self.expression(expression)
            self.emit(f"ret {type_name(expression.type)} {value}")
        self.ended = True

    # Expressions

    def expression(self, expression: ir.Expression) -> str:
        """Write an expression and return its value."""
        outer, self.span = self.span, expression.span
        value = self._expression(expression)
        self.span = outer
        return value

    def _expression(self, expression: ir.Expression) -> str:
        match expression:
            case ir.Constant():
                return constant(expression.type, expression.value)
            case ir.Text():
                return self.pair(self.module.literal(expression.data), str(len(expression.data)))
            case ir.ReadLocal():
                return self.value(f"load {type_name(expression.type)}, ptr {self._slots[expression.name]}")
            case ir.StaticPlace():
                symbol = self.module.static(expression)
                return self.offset(symbol, str(expression.offset)) if expression.offset else symbol
            case ir.Field() | ir.Element():
                address = self.address(expression)
                if isinstance(expression.type, (StructType, ArrayRefType)):
                    return address
                return self.load_from(address, expression.element, expression.volatile)
            case ir.Logical():
                return self._logical(expression)
            case ir.Conditional():
                return self._conditional(expression)
            case ir.Call():
                return self._call(expression)
            case ir.Intrinsic():
                return self._intrinsic(expression)
            case ir.NewStruct():
                return self._new_struct(expression)
            case ir.NewArray():
                return self._fresh(expression.type)
            case _:
                return self._operation(self, expression)

    def pair(self, pointer: str, count: str) -> str:
        """Make a slice value."""
        first = self.value(f"insertvalue {PAIR} poison, ptr {pointer}, 0")
        return self.value(f"insertvalue {PAIR} {first}, i64 {count}, 1")

    def pair_parts(self, value: str) -> tuple[str, str]:
        """Take a slice value apart."""
        return self.value(f"extractvalue {PAIR} {value}, 0"), self.value(f"extractvalue {PAIR} {value}, 1")

    def offset(self, pointer: str, offset: str) -> str:
        """Add a byte offset to a pointer."""
        return self.value(f"getelementptr inbounds i8, ptr {pointer}, i64 {offset}")

    def wide(self, expression: ir.Expression) -> str:
        """Write an index and widen it to 64 bits; a negative one becomes huge and fails its check."""
        value = self.expression(expression)
        kind = expression.type
        assert isinstance(kind, ScalarType)
        if kind.scalar.bits == 64 or isinstance(expression, ir.Constant):
            return value
        extend = "sext" if kind.integer.signed else "zext"
        return self.value(f"{extend} {type_name(kind)} {value} to i64")

    def address(self, place: ir.Expression) -> str:
        """Return the address of a field or an element, checked."""
        outer, self.span = self.span, place.span
        if isinstance(place, ir.Field):
            base = self.expression(place.base)
            result = self.offset(base, str(place.offset)) if place.offset else base
        elif isinstance(place, ir.Element):
            result = self._element_address(place)
        else:
            result = self.expression(place)
        self.span = outer
        return result

    def _element_address(self, place: ir.Element) -> str:
        base_type = place.base.type
        base = self.expression(place.base)
        index = self.wide(place.index)
        if isinstance(base_type, ArrayRefType):
            pointer, count = base, str(base_type.count)
            known = isinstance(place.index, ir.Constant)
        else:
            pointer, count = self.pair_parts(base)
            known = False
        if not known:
            inside = self.value(f"icmp ult i64 {index}, {count}")
            self.require(inside, PanicReason.BOUNDS, index, count)
        size = size_of(place.element)
        scaled = index if size == 1 else self.value(f"mul nuw nsw i64 {index}, {size}")
        return self.offset(pointer, scaled)

    def _logical(self, expression: ir.Logical) -> str:
        result = self.slot("i1")
        more, end = self.label(), self.label()
        first = self.expression(expression.left)
        self.emit(f"store i1 {first}, ptr {result}")
        order = (more, end) if expression.operator == "and" else (end, more)
        self.branch_if(first, *order)
        self.block(more)
        second = self.expression(expression.right)
        self.emit(f"store i1 {second}, ptr {result}")
        self.branch(end)
        self.block(end)
        return self.value(f"load i1, ptr {result}")

    def _conditional(self, expression: ir.Conditional) -> str:
        name = type_name(expression.type)
        result = self.slot(name)
        yes, no, end = self.label(), self.label(), self.label()
        self.branch_if(self.expression(expression.condition), yes, no)
        for label, branch in ((yes, expression.yes), (no, expression.no)):
            self.block(label)
            value = self.expression(branch)
            self.emit(f"store {name} {value}, ptr {result}")
            self.branch(end)
        self.block(end)
        return self.value(f"load {name}, ptr {result}")

    def _call(self, expression: ir.Call) -> str:
        callee = expression.callee
        arguments = [(type_name(a.type), self.expression(a)) for a in expression.arguments]
        self.span = expression.span
        aggregate = isinstance(callee.result, (StructType, ArrayRefType))
        place = self._fresh(callee.result, zero=False) if aggregate else ""
        if aggregate:
            arguments.insert(0, ("ptr", place))
        result = "void" if aggregate else type_name(callee.result)
        convention = "" if callee.options.export else "fastcc "
        text = ", ".join(f"{kind} {value}" for kind, value in arguments)
        call = f'call {convention}{result} @"{callee.symbol}"({text})'
        if result == "void":
            self.emit(call)
            return place
        return self.value(call)

    def _intrinsic(self, expression: ir.Intrinsic) -> str:
        arguments = [(type_name(a.type), self.expression(a)) for a in expression.arguments]
        return self.intrinsic(expression.name, type_name(expression.type), arguments)

    def _fresh(self, kind: Type, zero: bool = True) -> str:
        size = referred_size(kind)
        # What is longer than a few cache lines is for vectors, none of which shall cross a line.
        place = self.slot(f"[{size} x i8]", 64 if size >= LARGE_BYTES else 16)
        if zero:
            self.zero(place, size)
        return place

    def _new_struct(self, expression: ir.NewStruct) -> str:
        place = self._fresh(expression.type)
        assert isinstance(expression.type, StructType)
        for name, given in expression.values.items():
            field = expression.type.layout.fields[name]
            value = self.expression(given)
            target = self.offset(place, str(field.offset))
            if isinstance(given.type, (StructType, ArrayRefType)):
                self.copy(target, value, size_of(field.type))
            else:
                self.store_to(target, field.type, value)
        return place


def declaration(callee: ir.Instance) -> str:
    """Return how a module declares a function that another one defines."""
    aggregate = isinstance(callee.result, (StructType, ArrayRefType))
    types = [*(["ptr"] if aggregate else []), *(type_name(p.type) for p in callee.parameters)]
    result = "void" if aggregate else type_name(callee.result)
    convention = "" if callee.options.export else "fastcc "
    return f'declare {convention}{result} @"{callee.symbol}"({", ".join(types)}) nounwind'


def _has_break(body: list[ir.Statement]) -> bool:
    for statement in body:
        if isinstance(statement, ir.Break):
            return True
        if isinstance(statement, ir.If) and (_has_break(statement.yes) or _has_break(statement.no)):
            return True
    return False
