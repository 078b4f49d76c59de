"""Texts that no option expects: slips, empty variables of a script, and what someone hostile types."""

NUMBERS = (
    *("-1", "0", "-0.0", "1e308", "1e309", "5e-324", "nan", "inf", "-inf", "0x10", "1_000", "1.5", "1e3", "+5", "2**63"),
    *("9" * 19, "9" * 400, "9" * 5000, f"1e{'9' * 400}", f"0.{'0' * 400}1", "1000000000", str(10**12), str(10**18)),
    *("٣", "３", "²", "½", "Ⅷ", "1٣", "100000x100000", "9999999999x9999999999", "-4x4", "4x4x4", "x"),
)
TEXTS = (
    *("", " ", "\t", "\n", "a\nb", "\0", "a\0b", "\x1b[31mred\x1b[0m", "\u202eabc", "\u2028", "\ud800", "\udcff.npy"),
    *("🙂", "σ×…", "x" * 300, "x" * 5000, "🙂" * 300, "e\u0301" * 200, "%s%n{0}{x}$HOME", "None", "true"),
    *("[1, 2]", '{"a": 1}', "'", '"', "\\"),
)
WORDS = ("-", "--", "---", "-h-", "--=", "=", "@file", "@", "--help=1", "--no-such-option", "-n", "help")
PATHS = (
    *(".", "..", "/", "//", "~", "/dev/null", "/dev/full", "/dev/stdin", "/dev/tty", "/proc/self/mem", "/etc", "/etc/passwd"),
    *("no/such/folder/file.png", "x/" * 300, "a" * 256, "nul\0name.npy", "line\nbreak.npy", "-", "file.py:", ":f"),
    *("file.py:f.g", ".py:f", "a.py:b:c.py:d", "/dev/null:f", "/dev/stdin:f", "./:f", "C:\\a.npy", "a.npy/b.npy"),
)
VALUES: tuple[str, ...] = tuple(dict.fromkeys((*NUMBERS, *TEXTS, *WORDS, *PATHS)))
