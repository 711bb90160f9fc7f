"""The thermometer: how long files and functions are. Prints, judges nothing."""

import ast
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parent.parent
LONG_FILE, LONG_FUNCTION = 400, 60


def functions(text: str) -> list[tuple[str, int, int]]:
    """Name, line and length of every function, its docstring left out."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                length -= (first.end_lineno or first.lineno) - first.lineno + 1
            found.append((node.name, node.lineno, length))
    return found


def row(name: str, sizes: list[int], wanted: str) -> str:
    """One line of the table."""
    if not sizes:
        return f"{name:<10} none"
    p90 = quantiles(sizes, n=10)[-1] if len(sizes) > 1 else sizes[0]
    return f"{name:<10}{len(sizes):>6}{median(sizes):>8.0f}{p90:>6.0f}{max(sizes):>6}   {wanted}"


def main() -> None:
    """Measure src/ and print."""
    texts = {p: p.read_text(encoding="utf-8") for p in sorted((ROOT / "src").rglob("*.py"))}
    files = {p.relative_to(ROOT).as_posix(): len(t.splitlines()) for p, t in texts.items()}
    found = [(p.relative_to(ROOT), *f) for p, text in texts.items() for f in functions(text)]
    print(f"{'src':<10}{'count':>6}{'median':>8}{'p90':>6}{'max':>6}   wanted: median, p90")
    print(row("files", list(files.values()), "120, 300"))
    print(row("functions", [length for *_, length in found], "8, 30"))
    for path, lines in files.items():
        if lines > LONG_FILE:
            print(f"long file: {path} ({lines} lines; above {LONG_FILE} it says at its top why)")
    for path, name, line, length in found:
        if length > LONG_FUNCTION:
            print(f"long function: {path}:{line} {name} ({length} lines; above {LONG_FUNCTION})")


if __name__ == "__main__":
    main()
