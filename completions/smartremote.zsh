#compdef smartremote smartremote-cli
#
# zsh completion for smartremote
#
# Shells load this by themselves where an installer puts it into share/zsh/site-functions;
# otherwise, after compinit: source <(smartremote completion zsh)

_smartremote() {
    local program=${~words[1]} kind value help
    local -a response plain described
    (( $+commands[$program] )) || [[ -x $program ]] || program=smartremote

    # Take only what is left of the cursor; the quotes keep a space in the current word from splitting it.
    response=("${(@f)$(
        COMP_WORDS="${(F)words[1,CURRENT-1]} ${(qq)${(Q)PREFIX}}" COMP_CWORD=$((CURRENT - 1)) \
            _SMARTREMOTE_COMPLETE=zsh_complete _SMARTREMOTE_CLI_COMPLETE=zsh_complete \
            command $program 2>/dev/null
    )}")
    [[ $PREFIX == --*=* ]] && compset -P 1 '*='

    for kind value help in "${response[@]}"; do
        case $kind in
            plain)
                if [[ $help == _ ]]; then
                    plain+=("$value")
                else
                    described+=("$value:$help")
                fi
                ;;
            dir) _path_files -/ ;; # _directories falls back to files
            file) _files ;;
            unfinished) _files -g '*(-.+_smartremote_unfinished)' ;;
        esac
    done
    (( $#described )) && _describe -V 'smartremote' described
    (( $#plain )) && compadd -V smartremote -a plain
}

# Files with a part record; a record itself where its file is missing or already typed in full.
_smartremote_unfinished() {
    [[ -e $REPLY.part || ( $REPLY == *.part &&
        ( ! -e ${REPLY%.part} || ${${REPLY:t}%.part} != ${(b)${(Q)PREFIX}:t}* ) ) ]]
}

if [[ $funcstack[1] == _smartremote ]]; then
    _smartremote "$@" # autoloaded from fpath: this is the first call
else
    compdef _smartremote smartremote smartremote-cli
fi
