# bash completion for smartremote (bash 4.4 or newer)
#
# Shells load this by themselves where an installer puts it into share/bash-completion/completions;
# otherwise: source <(smartremote completion bash)

_smartremote() {
    # bash cuts words at ':' and '=' (COMP_WORDBREAKS). Join what no space separates; $before is the part of
    # the current word that bash will not replace, so answers must not repeat it.
    local line=${COMP_LINE:0:COMP_POINT} program=$1 before='' blank piece i
    local -a words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        blank=${line%%[![:space:]]*}
        line=${line#"$blank"}
        piece=${COMP_WORDS[i]}
        [[ $line == "$piece"* ]] || piece=$line # the cursor is inside this word
        line=${line#"$piece"}
        if ((i > 0)) && [[ -z $blank ]]; then
            before=${words[-1]}
            words[-1]+=$piece
        else
            before=''
            words+=("$piece")
        fi
    done
    [[ $piece == [:=]* ]] && before=${words[-1]}
    [[ $before == --*=* ]] && before=${before#*=}
    before=${before//[\\\"\']/}

    program=${program/#\~\//$HOME/}
    type -P "$program" >/dev/null || program=smartremote # an alias, for example

    local IFS=$'\n' response kind value
    response=$(
        COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]} - 1)) \
            _SMARTREMOTE_COMPLETE=bash_complete _SMARTREMOTE_CLI_COMPLETE=bash_complete \
            command "$program" 2>/dev/null
    )
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            plain) COMPREPLY+=("${value#"$before"}") ;;
            dir) _smartremote_paths -d "$value" "$before" dirnames ;;
            file) _smartremote_paths -f "$value" "$before" default ;;
            unfinished) _smartremote_unfinished "$value" "$before" ;;
        esac
    done <<<"$response"
}

# Paths that start with $2. Readline does it best; do it here only where bash has cut the word.
_smartremote_paths() {
    if [[ -z $3 ]]; then
        compopt -o "$4"
        return
    fi
    compopt -o filenames
    local path
    while IFS= read -r path; do
        COMPREPLY+=("${path#"$3"}")
    done < <(compgen "$1" -- "$2" | sort)
}

# Folders, and files with a part record; a record itself where its file is missing or already typed in full.
_smartremote_unfinished() {
    compopt -o filenames
    local name path
    while IFS= read -r name; do
        path=${name/#\~\//$HOME/}
        if [[ -d $path || -e $path.part ]] ||
            [[ $path == *.part && (! -e ${path%.part} || ${name%.part} != "$1"*) ]]; then
            COMPREPLY+=("${name#"$2"}")
        fi
    done < <(compgen -f -- "$1" | sort)
}

complete -o nosort -F _smartremote smartremote smartremote-cli
