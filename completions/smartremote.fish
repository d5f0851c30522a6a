# fish completion for smartremote
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
