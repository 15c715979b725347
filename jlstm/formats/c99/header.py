"""The header that goes with the C file: what a caller needs to know, and no more."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

from ...inspection import layer_table
from .program import Program
from .spelling import block, remark

MARK = "Recurrent network in C99, written by jlstm"
TYPE_BYTES = {"float": 4, "double": 8}


class Memory:
    """Bytes that a program takes: constants in flash, one state in RAM."""

    def __init__(self, program: Program) -> None:
        size = TYPE_BYTES[program.file.kind]
        self.flash = size * sum(table.values.size for table in program.file.tables)
        fields = sum(width for width, _ in program.states.values())
        arrays = sum(map(program.buffers.count, range(len(program.buffers.sizes))))
        self.ram = size * (fields + arrays + program.scratch) or 1


def header(program: Program) -> str:
    """The text of the header."""
    face = program.interface
    guard = f"{face.upper}_H"
    parts = [
        _opening(program),
        f"#ifndef {guard}\n#define {guard}",
        "#include <stddef.h>",
        '#ifdef __cplusplus\nextern "C" {\n#endif',
        "\n".join(face.macros()),
        *([_longest(program)] if face.whole else []),
        _state(program),
        _functions(program),
        "#ifdef __cplusplus\n}\n#endif",
        "#endif",
    ]
    return "\n\n".join(parts) + "\n"


def _opening(program: Program) -> str:
    net = program.net
    memory = Memory(program)
    rows = layer_table(net)
    source = Path(net.origin.file).name if net.origin.file else "a network in memory"
    lines = [
        f"{MARK} {version('jlstm')}.",
        f"Source: {remark(source)}, in {program.file.kind} precision.",
        "",
        *_table(rows),
        "",
        f"Constants (flash): {memory.flash} bytes. "
        f"One {program.interface.state} (RAM): {memory.ram} bytes.",
    ]
    if program.interface.whole:
        lines.append(
            f"The latter with {program.interface.upper}_MAX_STEPS = {program.steps}."
        )
    if net.classes:
        lines.append("Classes in the order of their scores:")
        lines += [f"  {k} {remark(name)}" for k, name in enumerate(net.classes)]
    return comment(lines)


def _table(rows: list[dict]) -> list[str]:
    cells = [
        [
            remark(row["name"], 24),
            row["type"],
            remark(row["settings"], 40),
            remark(row["output"]),
        ]
        for row in rows
    ]
    widths = [max(len(row[k]) for row in cells) for k in range(4)]
    return [
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True))
        for row in cells
    ]


def comment(lines: list[str]) -> str:
    """A block comment."""
    body = "\n".join(f" * {line}".rstrip() for line in lines)
    return f"/*\n{body}\n */"


def _longest(program: Program) -> str:
    name = f"{program.interface.upper}_MAX_STEPS"
    larger = f"{program.interface.upper}_LARGER"
    text = (
        "/* The longest sequence there is room for: the same in every file. */\n"
        f"#ifndef {name}\n#define {name} {program.steps}\n#endif"
    )
    sizes = [program.buffers.text(k, larger) for k in range(len(program.buffers.sizes))]
    if any(larger in size for size in sizes):
        text += f"\n\n#define {larger}(a, b) ((a) > (b) ? (a) : (b))"
    return text


def _state(program: Program) -> str:
    kind, larger = program.file.kind, f"{program.interface.upper}_LARGER"
    fields = [
        f"{kind} {name}[{width}]; /* {what} */"
        for name, (width, what) in program.states.items()
    ]
    for k in range(len(program.buffers.sizes)):
        size = program.buffers.text(k, larger)
        fields.append(f"{kind} work_{k + 1}[{size}];")
    if program.scratch:
        fields.append(f"{kind} scratch[{program.scratch}];")
    lines = block("typedef struct", fields or ["char unused;"])
    lines[-1] += f" {program.interface.state};"
    about = (
        "/* What a network carries from step to step, and room to work. One for every "
        "signal;\n   functions change nothing else. */"
    )
    return "\n".join([about, *lines])


def _functions(program: Program) -> str:
    face = program.interface
    parts = [
        f"/* Into the state that a fresh run starts from. */\n"
        f"void {face.prefix}_init({face.state} *s);"
    ]
    if program.net.saved is not None:
        parts.append(
            "/* Into the state that the network was saved in. */\n"
            f"void {face.prefix}_init_saved({face.state} *s);"
        )
    if face.has_step:
        parts.append(
            "/* One step. Arrays must not overlap. Returns 1 for a null pointer. */\n"
            f"{face.step()};"
        )
    if face.timed:
        parts.append(f"{comment(_about_sequence(program))}\n{face.sequence()};")
    return "\n\n".join(parts)


def _about_sequence(program: Program) -> list[str]:
    face = program.interface
    lines = [
        "A sequence, one step after the other in memory, from the state in *s, where",
        "the state after it is on return. Arrays must not overlap. Returns 0; or 1,",
        "with nothing done, for a null pointer or a number of steps it does not take.",
    ]
    for port in face.outputs:
        macro = re.sub("OUTPUTS", "OUTPUT_STEPS", port.macro)
        if port.rows is None:
            lines.append(f"{port.parameter}: {port.macro} numbers.")
        elif face.whole:
            which = face.inputs[(port.rows.source or 1) - 1].parameter
            lines.append(
                f"{port.parameter}: {macro}(steps of {which}) rows of {port.macro} "
                "numbers."
            )
        else:
            lines.append(f"{port.parameter}: a row of {port.macro} numbers a step.")
    return lines
