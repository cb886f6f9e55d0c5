"""What the names of Python files mean, as far as the code alone says it.

Each expression is worth a few *things*: a module, a definition itself, an instance of a class, something outside the
repository. They follow from bindings (assignments, annotations, parameters, ``with`` and ``for``), calls (a class
gives its instance, a function what it is annotated or seen to return) and members (looked up along the method
resolution order). The order of statements is not considered: a name that is bound twice is worth both. What nothing is
known of is worth nothing.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence

from pagedex.model.code import Binding, Bound, Code, Op
from pagedex.model.facts import Facts
from pagedex.model.files import SourceFile
from pagedex.model.ties import Place
from pagedex.resolving.modules import Modules
from pagedex.resolving.things import NOTHING, Kind, Thing, Things

# A name worth more things than this is worth nothing that people could use.
_MOST = 12
_DEEPEST = 80
# Nobody's classes inherit from so many; what was generated to is looked up that far.
_LONGEST_ORDER = 64

_TRANSPARENT = frozenset(("Optional", "Union", "Annotated", "Final", "ClassVar", "Required", "NotRequired", "ReadOnly"))
_CONTAINERS = frozenset(
    """ list List set Set frozenset FrozenSet tuple Tuple dict Dict Mapping MutableMapping Sequence MutableSequence
    Iterable Iterator Generator AsyncIterator AsyncIterable AsyncGenerator Collection deque Deque OrderedDict
    defaultdict DefaultDict AbstractSet KeysView ValuesView ItemsView Awaitable Coroutine
    """.split()
)
_GIVE_ELEMENTS = frozenset(("get", "pop", "popleft", "setdefault", "__getitem__"))
_BUILT_IN = frozenset(dir(builtins))
# What these give is, for the names that are looked up in it, what they were given.
_GIVE_ARGUMENT = frozenset(
    f"builtins.{name}" for name in ("reversed", "sorted", "list", "tuple", "set", "frozenset", "iter", "dict")
) | {"copy.copy", "copy.deepcopy", "itertools.chain", "collections.deque"}
_GIVE_ARGUMENTS_ELEMENT = frozenset(f"builtins.{name}" for name in ("next", "min", "max"))


class Inference:
    """Answers for any number of files. Answers are kept: begin anew where they must not depend on what was asked
    before."""

    def __init__(self, files: Sequence[SourceFile], facts: Sequence[Facts | None], modules: Modules) -> None:
        self._files = files
        self._facts = facts
        self._modules = modules
        self._values: dict[tuple[int, int], Things | None] = {}
        self._members: dict[tuple[int, str], tuple[tuple[Place, ...], Things]] = {}
        self._orders: dict[Place, tuple[Place, ...]] = {}
        self._defining: dict[int, dict[int, list[Binding]]] = {}
        self._depth = 0

    # What is mentioned

    def places(self, file: int, row: int) -> tuple[tuple[Place, ...], bool]:
        """The definitions that a row's name refers to, and whether anything is known of what it is looked up in."""
        code = self._code(file)
        op = code.op[row]
        name = code.texts[code.name[row]]
        if op == Op.NAME:
            return self._unaliased(self._name_places(file, code.first[row], name)), True
        if op == Op.IMPORTED:
            return self._unaliased(self._import_places(file, code.first[row])), True
        if op == Op.EXPORTED:
            return self._unaliased(self._module_member(file, name)[0]), True
        base = self.values(file, code.first[row])
        found: list[Place] = []
        for thing in base:
            found += (place for place in self.member(thing, name)[0] if place not in found)
        for thing in () if found else self._narrowed(file, code.first[row]):
            found += (place for place in self.member(thing, name)[0] if place not in found)
        return self._unaliased(tuple(found)), bool(base)

    def _unaliased(self, places: tuple[Place, ...]) -> tuple[Place, ...]:
        """With what a place is another name of: ``Alias = Real`` is a mention of both."""
        found = list(places)
        for file, index in places:
            facts = self._facts[file]
            assert facts is not None
            definition = facts.definitions[index]
            if definition.kind not in ("variable", "constant", "attribute", "type") or facts.code is None:
                continue
            for binding in self._bindings_of(file, index):
                if binding.how is Bound.VALUE and facts.code.op[binding.what] in (Op.NAME, Op.ATTRIBUTE):
                    for thing in self.values(file, binding.what):
                        if thing[0] == Kind.DEFINITION and Place(thing[1], thing[2]) not in found:
                            found.append(Place(thing[1], thing[2]))
        return tuple(found)

    def _bindings_of(self, file: int, definition: int) -> list[Binding]:
        if file not in self._defining:
            self._defining[file] = {
                one.definition: bindings
                for scope in self._code(file).scopes
                if scope.kind in ("module", "class")
                for bindings in scope.names.values()
                for one in bindings
                if one.definition >= 0
            }
        return self._defining[file].get(definition, [])

    # What rows are worth

    def values(self, file: int, row: int) -> Things:
        """The things that an expression is worth."""
        if row == 0:
            return NOTHING
        key = (file, row)
        if key in self._values:
            # None: it is being asked for, in a circle.
            return self._values[key] or NOTHING
        if self._depth > _DEEPEST:
            return NOTHING
        self._values[key] = None
        self._depth += 1
        found = self._evaluate(file, row)
        self._depth -= 1
        found = tuple(dict.fromkeys(found)) if len(found) > 1 else found
        self._values[key] = found = found if len(found) <= _MOST else NOTHING
        return found

    def _evaluate(self, file: int, row: int) -> Things:
        code = self._code(file)
        op, first = code.op[row], code.first[row]
        if op == Op.NAME:
            return self._name_values(file, first, code.texts[code.name[row]])
        if op == Op.ATTRIBUTE:
            name = code.texts[code.name[row]]
            worth = tuple(found for thing in self.values(file, first) for found in self.member(thing, name)[1])
            return worth or tuple(found for one in self._narrowed(file, first) for found in self.member(one, name)[1])
        if op == Op.CALL:
            return self._call(file, first, code.second[row])
        if op == Op.ITEM:
            return tuple(part for thing in self.values(file, first) for part in self._subscripted(thing))
        if op == Op.LITERAL:
            if code.second[row]:
                return ((Kind.CONTAINER, self.values(file, code.second[row])),)
            return ((Kind.MADE_OUTSIDE, "builtins." + code.texts[code.name[row]]),)
        if op == Op.EITHER:
            return (*self.values(file, first), *self.values(file, code.second[row]))
        if op == Op.IMPORTED:
            return self._import_values(file, first)
        if op == Op.SUPER:
            return ((Kind.SUPER, file, first),)
        if op == Op.TYPED:
            return self.typed(file, first)
        return NOTHING

    def typed(self, file: int, row: int) -> Things:
        """The things that an annotation says a name is: instances of the classes that it names."""
        code = self._code(file)
        op, first = code.op[row], code.first[row]
        if op == Op.EITHER:
            return (*self.typed(file, first), *self.typed(file, code.second[row]))
        if op == Op.ITEM:
            name = code.texts[code.name[first]] if code.op[first] in (Op.NAME, Op.ATTRIBUTE) else ""
            if name in _TRANSPARENT:
                return self.typed(file, code.second[row])
            if name in ("type", "Type"):
                return self.values(file, code.second[row])
            if name in _CONTAINERS:
                return ((Kind.CONTAINER, self.typed(file, code.second[row])),)
            return self.typed(file, first)
        if op == Op.LITERAL:
            return NOTHING
        found: list[Thing] = []
        for thing in self.values(file, row):
            if thing[0] == Kind.DEFINITION:
                found.append((Kind.INSTANCE, thing[1], thing[2]))
            elif thing[0] == Kind.OUTSIDE:
                found.append((Kind.MADE_OUTSIDE, thing[1]))
            elif thing[0] in (Kind.INSTANCE, Kind.CONTAINER):
                found.append(thing)  # an alias of a type: Alias = Optional[X]
        return tuple(found)

    # Names

    def _name_bindings(self, file: int, scope: int, name: str) -> list[Binding] | None:
        code = self._code(file)
        inner = True
        while scope >= 0:
            one = code.scopes[scope]
            # A class's names are seen in its own body only.
            if inner or one.kind != "class":
                if name in one.elsewhere:
                    scope = one.elsewhere[name]
                    one = code.scopes[scope]
                if name in one.names:
                    return one.names[name]
            inner = inner and one.kind == "comprehension"
            scope = one.parent
        return None

    def _name_values(self, file: int, scope: int, name: str) -> Things:
        bindings = self._name_bindings(file, scope, name)
        if bindings is None:
            found = self._starred(file, name)[1]
            return ((Kind.OUTSIDE, f"builtins.{name}"),) if not found and name in _BUILT_IN else found
        return self._bound(file, bindings)

    def _bound(self, file: int, bindings: list[Binding]) -> Things:
        said = [one for one in bindings if one.how is Bound.ANNOTATION]
        found: list[Thing] = []
        for one in said or bindings:
            if one.how is not Bound.NARROWED:
                found += self._binding_values(file, one)
        if all(thing[0] == Kind.MADE_OUTSIDE for thing in found):
            found += self._compared_with(file, bindings)
        return tuple(found)

    def _compared_with(self, file: int, bindings: list[Binding]) -> Things:
        return tuple(found for one in bindings if one.how is Bound.NARROWED for found in self.typed(file, one.what))

    def _narrowed(self, file: int, row: int) -> Things:
        """What isinstance says of a name beside its type: for members that the type itself doesn't have."""
        code = self._code(file)
        if code.op[row] != Op.NAME:
            return NOTHING
        bindings = self._name_bindings(file, code.first[row], code.texts[code.name[row]])
        return self._compared_with(file, bindings) if bindings else NOTHING

    def _binding_values(self, file: int, one: Binding) -> Things:
        if one.how is Bound.DEFINITION:
            return ((Kind.DEFINITION, file, one.what),)
        if one.how is Bound.VALUE:
            return self.values(file, one.what)
        if one.how is Bound.IMPORT:
            return self._import_values(file, one.what)
        if one.how is Bound.ANNOTATION:
            return self.typed(file, one.what)
        if one.how is Bound.SELF:
            return ((Kind.INSTANCE, file, one.what),)
        if one.how is Bound.CLASS:
            return ((Kind.DEFINITION, file, one.what),)
        if one.how is Bound.ELEMENT:
            return tuple(part for thing in self.values(file, one.what) for part in self._elements(thing))
        if one.how is Bound.ENTERED:
            return tuple(part for thing in self.values(file, one.what) for part in self._entered(thing))
        return NOTHING

    def _name_places(self, file: int, scope: int, name: str) -> tuple[Place, ...]:
        bindings = self._name_bindings(file, scope, name)
        if bindings is None:
            return self._starred(file, name)[0]
        return self._binding_places(file, bindings)

    def _binding_places(self, file: int, bindings: list[Binding]) -> tuple[Place, ...]:
        found: dict[Place, None] = {}
        for one in bindings:
            if one.how is Bound.IMPORT:
                found.update(dict.fromkeys(self._import_places(file, one.what)))
            elif one.how is Bound.DEFINITION:
                found[Place(file, one.what)] = None
            elif one.definition >= 0:
                found[Place(file, one.definition)] = None
        return tuple(found)

    # Imports

    def imported_module(self, file: int, index: int) -> int | str | None:
        """The module that an import names: ``a.b`` of ``import a.b`` and of ``from a.b import c``."""
        facts = self._facts[file]
        assert facts is not None
        one = facts.imports[index]
        if one.level:
            return self._modules.relative(one.module, one.level, self._files[file].path)
        return self._modules.find(one.module, self._files[file].path)

    def _import_values(self, file: int, index: int) -> Things:
        facts = self._facts[file]
        assert facts is not None
        one = facts.imports[index]
        if not one.name and not one.alias:
            top = one.module.partition(".")[0]
            return (self._module_thing(self._modules.find(top, self._files[file].path), top),)
        module = self._module_thing(self.imported_module(file, index), one.module)
        return (module,) if not one.name else self.member(module, one.name)[1]

    def _import_places(self, file: int, index: int) -> tuple[Place, ...]:
        facts = self._facts[file]
        assert facts is not None
        one = facts.imports[index]
        if not one.name:
            return ()
        return self.member(self._module_thing(self.imported_module(file, index), one.module), one.name)[0]

    @staticmethod
    def _module_thing(found: int | str | None, dotted: str) -> Thing:
        if found is None:
            return (Kind.OUTSIDE, dotted)
        return (Kind.MODULE, found) if isinstance(found, int) else (Kind.FOLDER, found)

    def _starred(self, file: int, name: str) -> tuple[tuple[Place, ...], Things]:
        """A name that only ``from module import *`` can have brought."""
        code = self._code(file)
        for index in reversed(code.scopes[0].stars):
            module = self.imported_module(file, index)
            if isinstance(module, int) and self._is_exported(module, name):
                found = self._module_member(module, name)
                if found[0] or found[1]:
                    return found
        return (), NOTHING

    def _is_exported(self, file: int, name: str) -> bool:
        facts = self._facts[file]
        if facts is None:
            return False
        return name in facts.exports if facts.exports is not None else not name.startswith("_")

    # Members

    def member(self, thing: Thing, name: str) -> tuple[tuple[Place, ...], Things]:
        """What ``thing.name`` refers to, and what it is worth."""
        kind = thing[0]
        if kind == Kind.MODULE:
            return self._module_member(thing[1], name)
        if kind == Kind.FOLDER:
            # A part of a package may be all that is read: what isn't there lies outside.
            child = self._modules.child(thing[1], name)
            return (), (self._module_thing(child, f"{thing[1]}.{name}".replace("/", ".")),)
        if kind in (Kind.INSTANCE, Kind.DEFINITION, Kind.SUPER):
            return self._class_member(thing, name)
        if kind == Kind.OUTSIDE:
            return (), ((Kind.OUTSIDE, f"{thing[1]}.{name}"),)
        if kind == Kind.CONTAINER:
            return (), ((Kind.ELEMENTS, thing[1]) if name in _GIVE_ELEMENTS else thing,)
        return (), NOTHING

    def _module_member(self, file: int, name: str) -> tuple[tuple[Place, ...], Things]:
        key = (file, name)
        if key in self._members:
            return self._members[key]
        self._members[key] = ((), NOTHING)  # until it is known: two modules may import from each other
        found: tuple[tuple[Place, ...], Things] = ((), NOTHING)
        facts = self._facts[file]
        bindings = facts.code.scopes[0].names.get(name) if facts is not None and facts.code is not None else None
        if bindings is not None:
            found = self._binding_places(file, bindings), self._bound(file, bindings)
        if not found[0] and not found[1]:
            child = self._modules.child(file, name)
            if child is not None:
                found = (), (self._module_thing(child, ""),)
            elif bindings is None and facts is not None and facts.code is not None:
                found = self._starred(file, name)
        self._members[key] = found
        return found

    def _class_member(self, thing: Thing, name: str) -> tuple[tuple[Place, ...], Things]:
        kind, file, index = thing
        order = self.order(Place(file, index))
        for place in order[1:] if kind == Kind.SUPER else order:
            code = self._code(place.file)
            one = code.classes.get(place.definition)
            if one is None:
                continue
            bindings = [*code.scopes[one.scope].names.get(name, ()), *one.attributes.get(name, ())]
            if not bindings:
                continue
            places = self._binding_places(place.file, bindings)
            found: list[Thing] = []
            for value in self._bound(place.file, bindings):
                found += self._property(value) if kind != Kind.DEFINITION else (value,)
            return places, tuple(found)
        return (), NOTHING

    def _property(self, value: Thing) -> Things:
        if value[0] == Kind.DEFINITION:
            function = self._code(value[1]).functions.get(value[2])
            if function is not None and function.kind == "property":
                return self._called(value)
        return (value,)

    def order(self, place: Place) -> tuple[Place, ...]:
        """A class's method resolution order, as far as its bases are in the repository (C3; left to right where that
        has no answer)."""
        known = self._orders.get(place)
        if known is not None:
            return known
        self._orders[place] = (place,)  # until it is known: a class may be its own base by mistake
        if self._depth > _DEEPEST:
            return (place,)
        self._depth += 1
        bases = [base for base in self.bases(place) if base != place]
        lines = [list(self.order(base)) for base in bases] + [list(bases)]
        self._depth -= 1
        found = [place]
        while any(lines) and len(found) < _LONGEST_ORDER:
            lines = [line for line in lines if line]
            head = next((line[0] for line in lines if not any(line[0] in other[1:] for other in lines)), lines[0][0])
            if head not in found:
                found.append(head)
            lines = [[one for one in line if one != head] for line in lines]
        self._orders[place] = tuple(found)
        return self._orders[place]

    def bases(self, place: Place) -> list[Place]:
        """The base classes that are in the repository, in the order in which they are written."""
        code = self._code(place.file)
        one = code.classes.get(place.definition)
        found: list[Place] = []
        for row in one.bases if one is not None else ():
            found += self.class_places(place.file, row)
        return found

    def class_places(self, file: int, row: int) -> list[Place]:
        return [
            Place(thing[1], thing[2])
            for thing in self.values(file, row)
            if thing[0] == Kind.DEFINITION and thing[2] in self._code(thing[1]).classes
        ]

    # Calls

    def _call(self, file: int, called: int, argument: int) -> Things:
        things = self.values(file, called)
        if len(things) == 1 and things[0][0] == Kind.OUTSIDE:
            if things[0][1] in _GIVE_ARGUMENT:
                return self.values(file, argument)
            if things[0][1] in _GIVE_ARGUMENTS_ELEMENT:
                return tuple(part for thing in self.values(file, argument) for part in self._elements(thing))
        return tuple(given for thing in things for given in self._called(thing))

    def _called(self, thing: Thing) -> Things:
        kind = thing[0]
        if kind == Kind.OUTSIDE:
            return ((Kind.MADE_OUTSIDE, thing[1]),)
        if kind in (Kind.CONTAINER, Kind.ELEMENTS):
            return (thing,) if kind == Kind.CONTAINER else thing[1]
        if kind == Kind.INSTANCE:
            found = self._class_member(thing, "__call__")[1]
            return tuple(given for one in found if one != thing for given in self._called(one))
        if kind != Kind.DEFINITION:
            return NOTHING
        _, file, index = thing
        code = self._code(file)
        if index in code.classes:
            return ((Kind.INSTANCE, file, index),)
        function = code.functions.get(index)
        if function is None:
            return NOTHING
        if function.returns:
            found = self.typed(file, function.returns)
            if not found or (found[0][0] == Kind.MADE_OUTSIDE and found[0][1].endswith(".Self")):
                return self._self_of(file, index) if found else NOTHING
            return found
        return tuple(given for row in function.results for given in self.values(file, row))

    def _self_of(self, file: int, function: int) -> Things:
        facts = self._facts[file]
        assert facts is not None
        parent = facts.definitions[function].parent
        return ((Kind.INSTANCE, file, parent),) if parent >= 0 and parent in self._code(file).classes else NOTHING

    def _subscripted(self, thing: Thing) -> Things:
        if thing[0] == Kind.CONTAINER:
            return tuple(thing[1])
        if thing[0] == Kind.INSTANCE:
            return tuple(given for one in self._class_member(thing, "__getitem__")[1] for given in self._called(one))
        # A generic class with its parameters, or a type of the library's.
        return (thing,) if thing[0] in (Kind.DEFINITION, Kind.OUTSIDE) else NOTHING

    def _elements(self, thing: Thing) -> Things:
        if thing[0] == Kind.CONTAINER:
            return tuple(thing[1])
        if thing[0] == Kind.INSTANCE:
            for name in ("__iter__", "__aiter__"):
                found = self._class_member(thing, name)[1]
                if found:
                    return tuple(
                        part for one in found for given in self._called(one) for part in self._elements_once(given)
                    )
        return NOTHING

    @staticmethod
    def _elements_once(thing: Thing) -> Things:
        return tuple(thing[1]) if thing[0] == Kind.CONTAINER else NOTHING

    def _entered(self, thing: Thing) -> Things:
        if thing[0] == Kind.CONTAINER:
            return tuple(thing[1])  # a generator made into a context manager
        if thing[0] == Kind.INSTANCE:
            for name in ("__enter__", "__aenter__"):
                for one in self._class_member(thing, name)[1]:
                    return self._called(one) or (thing,)
        return (thing,) if thing[0] == Kind.MADE_OUTSIDE else NOTHING

    def _code(self, file: int) -> Code:
        facts = self._facts[file]
        return facts.code if facts is not None and facts.code is not None else _EMPTY


_EMPTY = Code()
