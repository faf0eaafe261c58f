"""Tables of measurements: as text, as docs/performance.md, and whether two runs agree."""

import json
import re
import statistics

import other
import plots
import workloads

NOISY = 0.25        # of the median, between the quartiles of a ratio's rounds


def number(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def good(rounds):
    """The measurements of a cell that did not fail."""
    return [one for one in rounds or [] if "failed" not in one]


def middle(rounds, key):
    values = [one[key] for one in good(rounds) if one[key] is not None]
    return statistics.median(values) if values else None


def user_share(rounds):
    """Of all rounds together: the ticks that it comes from are coarse."""
    found = good(rounds)
    return sum(one["user"] * one["cpu"] * one["requests"] for one in found) / sum(one["cpu"] * one["requests"] for one in found)


def ratios(cells, mine, theirs):
    """Of two servers, in the rounds where both were measured."""
    pairs = zip(cells.get(mine, []), cells.get(theirs, []))
    return [a["cpu"] / b["cpu"] for a, b in pairs if "failed" not in a and "failed" not in b and b["cpu"]]


def ratio(cells, mine, theirs):
    found = ratios(cells, mine, theirs)
    return statistics.median(found) if found else None


def spread(values):
    """Between the quartiles, over the median."""
    if len(values) < 3 or not statistics.median(values):
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / statistics.median(values)


def base_of(row, cells):
    for name in (row.base, *row.entries):
        if good(cells.get(name)):
            return name
    return None


def notes(row, rounds, noisy):
    """What is to be known of a line."""
    found = []
    if failed := [one["failed"] for one in rounds if "failed" in one]:
        found.append(f"failed {len(failed)} of {len(rounds)} times: {failed[0][:80]}")
    if errors := sum(one["errors"] for one in good(rounds)):
        found.append(f"{errors:,} errors")
    requests, connects = (sum(one[key] for one in good(rounds)) for key in ("requests", "connects"))
    if connects > requests / 2 and not {"close", "tls=full", "tls=resumed"} & set(row.words):
        found.append("closes connections")
    if noisy:
        found.append("noisy")
    return "; ".join(found)


def rate(rounds, base):
    """Requests per second, and times those of the base in the same rounds."""
    pairs = [mine["rate"] / theirs["rate"] for mine, theirs in zip(rounds, base) if "failed" not in mine and "failed" not in theirs]
    return number(middle(rounds, "rate")) + (f" ({number(statistics.median(pairs))} ×)" if pairs else "")


def table(row, cells):
    """The lines of a row's table, as lists of cells."""
    base = base_of(row, cells)
    lines = []
    for name in row.entries:
        rounds = cells.get(name)
        if not rounds:
            continue
        of = ratios(cells, name, base) if base else []
        cpu = [one["cpu"] for one in good(rounds)]
        noisy = spread(of) > NOISY and name != base
        if not cpu:
            lines.append([name, *["–"] * 8, notes(row, rounds, False)])
            continue
        user = user_share(rounds)
        lines.append([name, f"{number(statistics.median(cpu))} ({number(min(cpu))})", f"{number(statistics.median(cpu) * user)} + {number(statistics.median(cpu) * (1 - user))}",
                      number(statistics.median(of)) if of else "–", rate(rounds, cells[base] if base else []), number(middle(rounds, "p50")), number(middle(rounds, "p99")),
                      f"{middle(rounds, 'share'):.0%}", number(middle(rounds, "threads")).split(".")[0], notes(row, rounds, noisy)])
    return base, lines


GOALS = ["", "of", "goal", "measured", "met"]
HEAD = ["", "CPU µs/request (least)", "user + system", "× {base}", "requests/s (× {base})", "p50 µs", "p99 µs", "CPU", "threads", ""]


def markdown(head, lines):
    if not any(line[-1] for line in lines):
        head, lines = head[:-1], [line[:-1] for line in lines]
    last = "---|" if len(head) == len(HEAD) and not head[-1] else "--:|"
    return "\n".join(["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 2) + last, *("| " + " | ".join(line) + " |" for line in lines)])


def text(store):
    """All of it, for a terminal."""
    parts = []
    for row in workloads.everything():
        cells = store["cells"].get(row.name)
        if cells:
            base, lines = table(row, cells)
            parts += [f"{row.section}: {row.title}", markdown([word.format(base=base) for word in HEAD], lines), ""]
    for figure in other.figures():
        if figure.name in store["figures"]:
            parts += [figure.title, markdown(["", "median", "range"], figure_table(figure, store["figures"][figure.name])), ""]
    parts += [markdown(GOALS, [line for line in goal_lines(store) if line[3] != "–"])]
    return "\n".join(parts)


# ---- docs/performance.md

INTRO = """# Performance

Made by `make bench` ([tests/bench](../tests/bench/README.md)): figures of one machine on one day. What they mean, and where the time goes, is in
[performance-notes.md](performance-notes.md).

{machine}

Each server has one worker on one core, the load is on another one (unless it is said). Servers take turns inside each of {rounds} rounds of {seconds:g} s; figures are
medians. Answers are compared byte by byte: a wrong one is an error, and no request. **CPU µs/request** is the time of all threads and processes of a server,
also of those that have ended, per right answer; in brackets the least of the rounds. **×** is the ratio to one server in the same round. *noisy*: half of a ratio's
rounds lie further apart than a quarter of it. *CPU* is the share of the core that the server had: below 100 % the load or other work of the machine was the limit, so
compare CPU first. *threads*: those that did the work of "one worker"."""


def section_name(section):
    return "".join(letter if letter.isalnum() else "-" for letter in section.partition(" (")[0].lower()).strip("-")


def goal_lines(store):
    """The goals, with what was measured."""
    lines, missed = [], 0
    for row in workloads.everything():
        cells = store["cells"].get(row.name, {})
        for ours, theirs, limit in row.goals:
            value = ratio(cells, ours, theirs)
            met = value is not None and value <= limit
            missed += not met
            why = "–" if value is None else "yes" if met else "no"
            if value is None and cells:
                bad = next((name for name in (ours, theirs) if not good(cells.get(name))), "")
                why = f"– ({bad} {'fails' if cells.get(bad) else 'is absent'})"
            lines.append([f"{row.section.partition(' (')[0]}: {row.title}", f"{ours} ÷ {theirs}", f"≤ {limit:.2f}", number(value), why])
    for figure in other.figures():
        for name, limit in figure.goals.items():
            rounds = [value for value in store["figures"].get(figure.name, {}).get(name, []) if not isinstance(value, dict)]
            value = statistics.median(rounds) if rounds else None
            lines.append([figure.title, name, f"≤ {number(limit)} {figure.unit}", number(value), "–" if value is None else "yes" if value <= limit else "no"])
    return lines


def figure_table(figure, cells):
    lines = []
    for name in figure.entries:
        values = [value for value in cells.get(name, []) if not isinstance(value, dict)]
        bad = [value["failed"] for value in cells.get(name, []) if isinstance(value, dict)]
        if values:
            lines.append([name, f"{number(statistics.median(values))} {figure.unit}", f"{number(min(values))} – {number(max(values))}"])
        elif bad:
            lines.append([name, "–", f"failed: {bad[0][:80]}"])
    return lines


def told_machine(store):
    m = store["machine"]
    return (f"{store['date']}: {m['cpu']}, {m['cores']} cores, Linux {m['kernel']}, OpenSSL {m['openssl']}, {m['python']}; network namespace: {m['network']}; "
            f"load of the machine before: {m['load']:.1f}. The run took {store['took'] // 60} minutes.")


def entry_lines(store):
    used = [name for name, entry in store["entries"].items() if entry["version"]]
    absent = [f"{name} ({entry['why']})" for name, entry in store["entries"].items() if not entry["version"]]
    lines = ["## Servers", "", markdown(["", "version", "settings", ""], [[name, store["entries"][name]["version"], store["entries"][name]["settings"], ""] for name in used])]
    return [*lines, "", "Absent: " + (", ".join(absent) or "none") + ".", ""]


def bars(row, cells):
    found = []
    for name in row.entries:
        cpu = [one["cpu"] for one in good(cells.get(name))]
        if cpu:
            found.append((name, statistics.median(cpu), min(cpu), max(cpu)))
    return found


def told_rounds(store):
    """Runs that were put together may differ."""
    counts = {len(rounds) for row in store["cells"].values() for rounds in row.values()} or {store["rounds"]}
    return f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(*counts)


def write(paths, docs):
    """docs/performance.md and docs/performance/*.svg."""
    store = merge([json.loads(path.read_text(encoding="utf-8")) for path in paths])
    pictures = docs / "performance"
    pictures.mkdir(parents=True, exist_ok=True)
    parts = [INTRO.format(machine=told_machine(store), rounds=told_rounds(store), seconds=store["seconds"]), "", "## Goals", "",
             "The ratio of CPU µs/request in the same rounds; lower is better.", "", markdown(GOALS, goal_lines(store)), ""]
    rows = [row for row in workloads.everything() if row.name in store["cells"]]
    for section in dict.fromkeys(row.section for row in rows):
        picture = section_name(section) + ".svg"
        parts += [f"## {section}", "", f"![CPU µs per request](performance/{picture})", ""]
        panels = []
        for row in rows:
            if row.section == section:
                cells = store["cells"][row.name]
                base, lines = table(row, cells)
                parts += [f"### {row.title}", "", markdown([word.format(base=base or "–") for word in HEAD], lines), ""]
                if shown := bars(row, cells):
                    panels.append((row.title, "µs", shown))
        (pictures / picture).write_text(plots.svg(panels, number), encoding="utf-8")
    taken = [figure for figure in other.figures() if figure.name in store["figures"]]
    if taken:
        parts += [f"## {taken[0].section}", "", "PSS of the processes, without the kernel's part of connections.", ""]
    for figure in taken:
        parts += [f"### {figure.title}", "", markdown(["", "median", "range"], figure_table(figure, store["figures"][figure.name])), ""]
    parts += entry_lines(store)
    (docs / "performance.md").write_text("\n".join(parts), encoding="utf-8")
    print(f"{docs / 'performance.md'}, {pictures}")


def merge(stores):
    """Rows of later runs replace those of earlier ones."""
    whole = stores[0]
    for store in stores[1:]:
        for key in ("entries", "cells", "figures"):
            whole[key].update(store[key])
        whole["took"] += store["took"]
    return whole


# ---- two runs


def ranking(path):
    """By row, each server's ratio to the base: of a run's measurements, or of a report, which is all that is left of an older run."""
    written = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return read_back(written)
    found, measured = {}, json.loads(written)["cells"]
    for row in workloads.everything():
        cells = measured.get(row.name, {})
        base = base_of(row, cells)
        found[row.name] = {name: ratio(cells, name, base) for name in row.entries if base and ratio(cells, name, base)}
    return found


def read_back(written):
    """What write() said, by row."""
    names = {(section_name(row.section), row.title): row.name for row in workloads.everything()}
    found, section, row = {}, "", None
    for line in written.splitlines():
        if line.startswith("## "):
            section, row = section_name(line[3:]), None
        elif line.startswith("### "):
            row = names.get((section, line[4:]))
        elif row and line.startswith("| ") and not line.startswith("|  |"):
            cell = [word.strip() for word in line.split("|")]
            if re.fullmatch(r"[0-9.,]+", cell[4]):
                found.setdefault(row, {})[cell[1]] = float(cell[4].replace(",", ""))
    return found


def compare(one, two):
    """Row by row: the ranking by ratios in both runs. Two servers count as swapped only where they lie apart by more than a tenth in one run."""
    runs = [ranking(one), ranking(two)]
    lines, count = [], {True: [0, 0], False: [0, 0]}
    for row in workloads.everything():
        a, b = (run.get(row.name, {}) for run in runs)
        both = [name for name in sorted(a, key=a.get) if name in b]
        if not both:
            continue
        lines.append(f"{row.name:20} {' < '.join(both)}")
        for i, low in enumerate(both):
            for high in both[i + 1:]:
                swapped = b[low] > b[high] and max(a[high] / a[low], b[low] / b[high]) > 1.1
                kind = count[low.startswith("monoceros") != high.startswith("monoceros")]
                kind[0] += 1
                kind[1] += swapped
                if swapped:
                    lines.append(f"{'':20}   swapped: {low}/{high} {a[low]:.2f}/{a[high]:.2f} and {b[low]:.2f}/{b[high]:.2f}")
    for ours, word in ((True, "of Monoceros and another server"), (False, "of others, or of Monoceros alone")):
        lines.append(f"{count[ours][0]} pairs {word}, {count[ours][1]} swapped by more than a tenth")
    return "\n".join(lines)
