# bash completion for shield, shieldctl and shield-bench: what they take is what their --help says.

_shield_words() { # COMMAND [ARGUMENT]: the options in its help
    "$@" --help 2>/dev/null | sed -n 's/^ \{1,6\}\(-[A-Za-z], \)\{0,1\}\(--[a-z0-9-]*\).*/\2/p'
}

_shield_commands() { # COMMAND: the commands in its help
    "$1" --help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\)\( [A-Z.]*\)* \{2,\}[A-Za-z].*/\1/p'
}

_shield_complete() {
    local program=$1 word=$2 before=$3 command= i
    COMPREPLY=()
    case $before in
    -c | --config | --token-file | --tls-cert | --tls-key | --tls-client-ca | --warm | --targets | --html | --hdr | --report | --shield | \
        --unix-socket)
        COMPREPLY=($(compgen -f -- "$word"))
        return
        ;;
    warm)
        if [[ $word != -?* ]]; then
            COMPREPLY=($(compgen -f -- "$word"))
            return
        fi
        ;;
    --store | --dir)
        COMPREPLY=($(compgen -d -- "$word"))
        return
        ;;
    --set)
        COMPREPLY=($(compgen -S = -W "$("$program" --help 2>/dev/null | sed -n 's/^\([a-z][a-zA-Z_]*\(\.[a-zA-Z_]*\)*\)  .*/\1/p')" -- "$word"))
        compopt -o nospace 2>/dev/null
        return
        ;;
    esac
    case $program in
    *shieldctl | *shield-bench)
        local commands=$(_shield_commands "$program")
        for ((i = 1; i < COMP_CWORD; i++)); do
            case " $(echo $commands) " in
            *" ${COMP_WORDS[i]} "*)
                command=${COMP_WORDS[i]}
                break
                ;;
            esac
        done
        if [[ -z $command && $word != -* ]]; then
            COMPREPLY=($(compgen -W "$commands" -- "$word"))
            return
        fi
        ;;
    esac
    COMPREPLY=($(compgen -W "$(_shield_words "$program" $command)" -- "$word"))
}

complete -F _shield_complete shield shieldctl shield-bench
