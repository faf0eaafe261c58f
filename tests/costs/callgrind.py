"""Reads what callgrind writes: self and inclusive instructions by function."""

import re
from collections import Counter

NAME = re.compile(r"(c?(?:ob|fn|fi|fe|fl))=\((\d+)\)(?: (.*))?")


class Profile:
    """own[object, function]: self cost; within[function]: with all it calls, without what it does by calling itself; edges[object, function, other]:
    what a function spends in another one of its object; calls[from, to]: between objects."""
    parts = ("own", "within", "edges", "calls")

    def __init__(self):
        self.total = 0
        for part in self.parts:
            setattr(self, part, Counter())

    @classmethod
    def read(cls, path):
        profile = cls()
        names, here, to, called = {"ob": {}, "fn": {}}, {"ob": "?", "fn": "?"}, {}, None
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                match = NAME.match(line)
                if match:
                    key, number, text = match.groups()
                    kind = key[-2:]
                    if kind in names:
                        if text is not None:
                            names[kind][number] = text.strip()
                        (to if key[0] == "c" else here)[kind] = names[kind][number]
                elif line.startswith("calls="):
                    called = int(line[6:].split()[0])
                elif line[0] in "+-*0123456789":
                    cost = int(line.split()[1])
                    caller, callee = base(here["fn"]), base(to.get("fn", "?"))
                    if called is None:
                        profile.total += cost
                        profile.own[here["ob"], caller] += cost
                        profile.within[caller] += cost
                    elif caller != callee:
                        profile.within[caller] += cost
                        if to.get("ob", here["ob"]) == here["ob"]:
                            profile.edges[here["ob"], caller, callee] += cost
                    if called is not None:      # 0: begun before what is counted here
                        profile.calls[here["ob"], to.get("ob", here["ob"])] += called
                        to, called = {}, None
        return profile

    def less(self, other, times):
        """What there is more of here than there, divided by how often it was done."""
        result = Profile()
        result.total = (self.total - other.total) / times
        for name in self.parts:
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(result, name, Counter({key: (mine[key] - theirs[key]) / times for key in mine.keys() | theirs.keys() if mine[key] != theirs[key]}))
        return result

    def inside(self, where, function):
        """What a function and those that it calls spend in one object themselves; of one with several callers this one's share."""
        def share(callee):
            if callee not in known:
                known[callee] = 0       # of a circle
                known[callee] = spent(callee) / (self.within[callee] or 1)
            return known[callee]

        def spent(caller):
            return self.own[where, caller] + sum(cost * share(callee) for callee, cost in edges.get(caller, ()))

        known, edges = {}, {}
        for (place, caller, callee), cost in self.edges.items():
            if place == where:
                edges.setdefault(caller, []).append((callee, cost))
        return spent(function)


def base(function):
    """Without what the compiler adds to the names of parts and copies, or callgrind to those of recursions."""
    return re.sub(r"('\d+|\.(part|isra|constprop|cold)\S*)+$", "", function)
