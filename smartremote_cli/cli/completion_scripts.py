"""The completion scripts of the shells, as texts; `completions/` holds the same for packagers.

All of them ask the program itself what fits, over click's protocol: the words in COMP_WORDS, the position in
COMP_CWORD, `_SMARTREMOTE_COMPLETE=SHELL_complete`, and answers of a type and a value. Click's own scripts are
not used because its bash script splits `My File.iso`, knows nothing of words with colons, and breaks on a
cursor inside the line; its zsh script replaces `--progress=` by the value; its fish script loses what follows
a comma. Names of files are left to the shell, which knows how to expand and quote them.

One type of answer is ours: UNFINISHED stands for files that have a part record beside them.
"""

from __future__ import annotations

UNFINISHED = "unfinished"

BASH = r"""# bash completion for smartremote (bash 4.4 or newer)
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
"""

ZSH = r"""#compdef smartremote smartremote-cli
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
"""

FISH = r"""# fish completion for smartremote
#
# Shells load this by themselves where an installer puts it into share/fish/vendor_completions.d;
# otherwise: smartremote completion fish | source

function __smartremote_complete
    set -l program (commandline -opc)[1]
    type -q -- $program; or set program smartremote
    set -l token (commandline -ct)
    set -l line (commandline -cp | string collect)
    # fish wants whole words back: what precedes the value in --option=value goes before every answer.
    set -l before (string match -r -- '^--[^=]+=' $token)
    set -l typed (string replace -r -- '^--[^=]+=' '' $token)

    for answer in (env _SMARTREMOTE_COMPLETE=fish_complete _SMARTREMOTE_CLI_COMPLETE=fish_complete \
            COMP_WORDS=$line COMP_CWORD=$token $program 2>/dev/null)
        set -l parts (string split -m 1 -- , $answer)
        switch $parts[1]
            case plain
                printf '%s\n' "$before$parts[2]"
            case dir
                __smartremote_paths $typed | string match -r -- '.*/$' | string replace -r -- '^' "$before"
            case file
                __smartremote_paths $typed | string replace -r -- '^' "$before"
            case unfinished
                __smartremote_unfinished $typed | string replace -r -- '^' "$before"
        end
    end
end

# The paths that fish itself offers. The command must be one without completions of its own.
function __smartremote_paths --argument-names typed
    complete -C "'' $typed" | string split -f 1 -- \t
end

# Folders, and files with a part record; a record itself where its file is missing or already typed in full.
function __smartremote_unfinished --argument-names typed
    set -l word (string unescape -- $typed)
    for name in (__smartremote_paths $typed)
        set -l path (string replace -r -- '^~/' "$HOME/" $name)
        test -e "$path"; or continue # fish also completes what follows any '='; here that is not an option's value
        set -l data (string replace -r -- '\.part$' '' $name)
        if test -d "$path"; or test -e "$path.part"
            printf '%s\n' $name
        else if test "$data" != "$name"
            if not test -e (string replace -r -- '\.part$' '' $path)
                or test (string sub -l (string length -- "$word") -- $data) != "$word"
                printf '%s\n' $name
            end
        end
    end
end

complete --command smartremote --no-files --arguments '(__smartremote_complete)'
complete --command smartremote-cli --no-files --arguments '(__smartremote_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
