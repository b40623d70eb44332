# Options (part=HELP) or directives (part=DIRECTIVES) of a --help text, as a list in man(7).

function escaped(s) {
    gsub(/\\/, "\\e", s)
    gsub(/-/, "\\-", s)
    sub(/^[.']/, "\\\\\\&&", s)
    return s
}

function item(name) {
    print ".TP"
    print ".B \"" escaped(name) "\""
}

part == "DIRECTIVES" && /^NAME +DEFAULT/ { listed = 1; next }
part == "DIRECTIVES" && listed && /^$/ { exit }
part == "DIRECTIVES" && listed {
    n = split($0, column, /  +/)
    item(column[1])
    text = column[n]
    print escaped(text)
    print ".br"
    print escaped("Default " column[2] "; " column[3] "; " (column[n - 1] ~ /live$/ ? "reloaded." : "needs a restart."))
}

part == "HELP" && /^Options of any command/ { exit }

# "  -c, --config FILE   What it is." or the latter on a line of its own behind it
part == "HELP" && /^ +(-[A-Za-z], )?--[a-z]/ {
    line = $0
    sub(/^ +/, "", line)
    at = match(line, /  +/)
    item(at > 0 ? substr(line, 1, at - 1) : line)
    waits = at == 0
    if (at > 0)
        print escaped(substr(line, at + RLENGTH))
    next
}
part == "HELP" && waits && /^ +[^ ]/ {
    sub(/^ +/, "")
    print escaped($0)
    waits = 0
}
