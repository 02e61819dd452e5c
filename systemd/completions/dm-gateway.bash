# bash completion of dm-gateway. Made from its definition, see tests/generated.
# shellcheck shell=bash

# What stands below a command.
_dm_gateway_commands() {
    case $1 in
        '') echo 'run status check devices servers map session tree bootstrap monitor audit backup restore factory-reset provision support-bundle trace metrics web config reload apply confirm log-level decode manual demo simulate' ;;
        'devices') echo 'list forget block unblock trust show provision' ;;
        'servers') echo 'list show approve deny test' ;;
        'map') echo 'list explain add remove' ;;
        'bootstrap') echo 'apply' ;;
        'provision') echo 'sign key keygen' ;;
        'config') echo 'check show doc' ;;
        'simulate') echo 'device server farm' ;;
    esac
}

# The options of a command.
_dm_gateway_options() {
    case $1 in
        '') echo '--help --version' ;;
        'run') echo '--config --help' ;;
        'status') echo '--config --socket --format --json --help' ;;
        'check') echo '--only --list --warnings-as-errors --user --config --format --json --help' ;;
        'devices') echo '--all --config --socket --format --json --help' ;;
        'devices list') echo '--all --config --socket --format --json --help' ;;
        'devices forget') echo '--dry-run --config --socket --format --json --help' ;;
        'devices block') echo '--dry-run --config --socket --format --json --help' ;;
        'devices unblock') echo '--dry-run --config --socket --format --json --help' ;;
        'devices trust') echo '--mac --dry-run --config --socket --format --json --help' ;;
        'devices show') echo '--config --socket --format --json --help' ;;
        'devices provision') echo '--dry-run --config --socket --format --json --help' ;;
        'servers') echo '--config --socket --format --json --help' ;;
        'servers list') echo '--config --socket --format --json --help' ;;
        'servers show') echo '--config --socket --format --json --help' ;;
        'servers approve') echo '--dry-run --config --socket --format --json --help' ;;
        'servers deny') echo '--dry-run --config --socket --format --json --help' ;;
        'servers test') echo '--config --socket --format --json --help' ;;
        'map') echo '--help' ;;
        'map list') echo '--config --socket --format --json --help' ;;
        'map explain') echo '--config --socket --format --json --help' ;;
        'map add') echo '--dry-run --config --socket --format --json --help' ;;
        'map remove') echo '--dry-run --config --socket --format --json --help' ;;
        'session') echo '--wait --dry-run --config --socket --format --json --help' ;;
        'tree') echo '--config --socket --format --json --help' ;;
        'bootstrap') echo '--help' ;;
        'bootstrap apply') echo '--dry-run --config --socket --format --json --help' ;;
        'monitor') echo '--device --server --config --socket --format --json --help' ;;
        'audit') echo '--since --server --verify --config --socket --format --json --help' ;;
        'backup') echo '--with-secrets --passphrase-file --config --socket --format --json --help' ;;
        'restore') echo '--take-identity --keep-identity --passphrase-file --dry-run --config --format --json --help' ;;
        'factory-reset') echo '--keep-identity --yes --dry-run --config --format --json --help' ;;
        'provision') echo '--from-mount --dry-run --config --format --json --help' ;;
        'provision sign') echo '--key --help' ;;
        'provision key') echo '--help' ;;
        'provision keygen') echo '--help' ;;
        'support-bundle') echo '--config --socket --format --json --help' ;;
        'trace') echo '--config --socket --format --json --for --messages --help' ;;
        'metrics') echo '--config --socket --output --help' ;;
        'web') echo '--config --socket --listen --help' ;;
        'config') echo '--help' ;;
        'config check') echo '--config --format --json --help' ;;
        'config show') echo '--origin --all --files --config --socket --format --json --help' ;;
        'config doc') echo '--format --json --help' ;;
        'reload') echo '--restart --dry-run --config --socket --format --json --help' ;;
        'apply') echo '--trial --restart --dry-run --config --socket --format --json --help' ;;
        'confirm') echo '--discard --dry-run --config --socket --format --json --help' ;;
        'log-level') echo '--for --module --dry-run --config --socket --format --json --help' ;;
        'decode') echo '--format --json --help' ;;
        'manual') echo '--help' ;;
        'demo') echo '--keep-running --format --json --help' ;;
        'simulate') echo '--help' ;;
        'simulate device') echo '--id --listen --gateway --gateway-id --server --encoding --quirk --open-session --push-secret-file --profile --auth --user --secret-file --server-secret-file --factory-fresh --pin-file --wait --timeout --format --json --help' ;;
        'simulate server') echo '--id --listen --push-to --device --session --count --interval --repeat --raw --secret-file --push-on-association --push-port --script --auth --user --nonce --client-user --client-secret-file --client-nonce --url --max-message-size --certificate --key --wrong-credentials --no-credentials --stale-nonce --basic-only --version-513 --broken-object --redirect --private-uri --slow --cut --wait --timeout --format --json --help' ;;
        'simulate farm') echo '--count --base-address --push-port --write-leases --gateway --gateway-id --server --encoding --quirk --open-session --wait --timeout --format --json --help' ;;
    esac
}

# What the operand of a command is that has so many before it.
_dm_gateway_operand() {
    case $1 in
        'check 0') echo 'text' ;;
        'devices forget 0') echo 'devices' ;;
        'devices block 0') echo 'devices' ;;
        'devices unblock 0') echo 'devices' ;;
        'devices trust 0') echo 'devices' ;;
        'devices show 0') echo 'devices' ;;
        'devices provision 0') echo 'devices' ;;
        'servers show 0') echo 'servers' ;;
        'servers approve 0') echo 'servers' ;;
        'servers deny 0') echo 'servers' ;;
        'servers test 0') echo 'servers' ;;
        'map explain 0') echo 'servers' ;;
        'map explain 1') echo 'devices' ;;
        'map add 0') echo 'servers' ;;
        'map add 1') echo 'devices' ;;
        'map remove 0') echo 'servers' ;;
        'map remove 1') echo 'devices' ;;
        'session 0') echo 'servers' ;;
        'tree 0') echo 'text' ;;
        'bootstrap apply 0') echo 'file' ;;
        'backup 0') echo 'file' ;;
        'restore 0') echo 'file' ;;
        'provision 0') echo 'file' ;;
        'provision sign 0') echo 'file' ;;
        'provision key 0') echo 'file' ;;
        'provision keygen 0') echo 'file' ;;
        'support-bundle 0') echo 'file' ;;
        'trace 0') echo 'text' ;;
        'config check 0') echo 'file' ;;
        'config show 0') echo 'text' ;;
        'config doc 0') echo 'text' ;;
        'apply 0') echo 'file' ;;
        'log-level 0') echo 'words error warn info debug trace' ;;
        'decode '*) echo 'file' ;;
        'manual 0') echo 'text' ;;
    esac
}

# What the value of a command's option is; nothing for a flag.
_dm_gateway_value() {
    case $1 in
        'simulate device --auth') echo 'words none basic md5' ;;
        'simulate server --auth') echo 'words none basic md5 mac' ;;
        *' --base-address') echo 'text' ;;
        *' --certificate') echo 'file' ;;
        *' --client-nonce') echo 'text' ;;
        *' --client-secret-file') echo 'file' ;;
        *' --client-user') echo 'text' ;;
        *' --config') echo 'file' ;;
        *' --count') echo 'text' ;;
        'monitor --device') echo 'devices' ;;
        'simulate server --device') echo 'text' ;;
        *' --encoding') echo 'words xml wbxml' ;;
        *' --for') echo 'text' ;;
        'apply --format') echo 'words table json jsonl' ;;
        'audit --format') echo 'words table json jsonl' ;;
        'backup --format') echo 'words table json jsonl' ;;
        'bootstrap apply --format') echo 'words table json jsonl' ;;
        'check --format') echo 'words table json jsonl' ;;
        'config check --format') echo 'words table json jsonl' ;;
        'config doc --format') echo 'words table json jsonl' ;;
        'config show --format') echo 'words table json jsonl' ;;
        'confirm --format') echo 'words table json jsonl' ;;
        'decode --format') echo 'words table json jsonl' ;;
        'demo --format') echo 'words table json jsonl' ;;
        'devices --format') echo 'words table json jsonl' ;;
        'devices block --format') echo 'words table json jsonl' ;;
        'devices forget --format') echo 'words table json jsonl' ;;
        'devices list --format') echo 'words table json jsonl' ;;
        'devices provision --format') echo 'words table json jsonl' ;;
        'devices show --format') echo 'words table json jsonl' ;;
        'devices trust --format') echo 'words table json jsonl' ;;
        'devices unblock --format') echo 'words table json jsonl' ;;
        'factory-reset --format') echo 'words table json jsonl' ;;
        'log-level --format') echo 'words table json jsonl' ;;
        'map add --format') echo 'words table json jsonl' ;;
        'map explain --format') echo 'words table json jsonl' ;;
        'map list --format') echo 'words table json jsonl' ;;
        'map remove --format') echo 'words table json jsonl' ;;
        'monitor --format') echo 'words table json jsonl' ;;
        'provision --format') echo 'words table json jsonl' ;;
        'reload --format') echo 'words table json jsonl' ;;
        'restore --format') echo 'words table json jsonl' ;;
        'servers --format') echo 'words table json jsonl' ;;
        'servers approve --format') echo 'words table json jsonl' ;;
        'servers deny --format') echo 'words table json jsonl' ;;
        'servers list --format') echo 'words table json jsonl' ;;
        'servers show --format') echo 'words table json jsonl' ;;
        'servers test --format') echo 'words table json jsonl' ;;
        'session --format') echo 'words table json jsonl' ;;
        'simulate device --format') echo 'words json jsonl' ;;
        'simulate farm --format') echo 'words json jsonl' ;;
        'simulate server --format') echo 'words json jsonl' ;;
        'status --format') echo 'words table json jsonl' ;;
        'support-bundle --format') echo 'words table json jsonl' ;;
        'trace --format') echo 'words table json jsonl' ;;
        'tree --format') echo 'words table json jsonl' ;;
        *' --gateway') echo 'text' ;;
        *' --gateway-id') echo 'text' ;;
        *' --id') echo 'text' ;;
        *' --interval') echo 'text' ;;
        *' --key') echo 'file' ;;
        *' --listen') echo 'text' ;;
        *' --mac') echo 'text' ;;
        *' --max-message-size') echo 'text' ;;
        *' --messages') echo 'text' ;;
        *' --module') echo 'text' ;;
        *' --nonce') echo 'text' ;;
        *' --only') echo 'text' ;;
        *' --output') echo 'file' ;;
        *' --passphrase-file') echo 'file' ;;
        *' --pin-file') echo 'file' ;;
        *' --profile') echo 'words registered draft' ;;
        *' --push-port') echo 'text' ;;
        *' --push-secret-file') echo 'file' ;;
        *' --push-to') echo 'text' ;;
        *' --quirk') echo 'text' ;;
        *' --raw') echo 'text' ;;
        *' --script') echo 'file' ;;
        *' --secret-file') echo 'file' ;;
        'audit --server') echo 'servers' ;;
        'monitor --server') echo 'servers' ;;
        'simulate device --server') echo 'text' ;;
        'simulate farm --server') echo 'text' ;;
        *' --server-secret-file') echo 'file' ;;
        *' --session') echo 'text' ;;
        *' --since') echo 'text' ;;
        *' --socket') echo 'file' ;;
        *' --timeout') echo 'text' ;;
        *' --trial') echo 'text' ;;
        *' --url') echo 'text' ;;
        *' --user') echo 'text' ;;
        *' --wait') echo 'text' ;;
        *' --write-leases') echo 'file' ;;
    esac
}

# The ids that the daemon knows. Silent where none answers.
_dm_gateway_ids() {
    dm-gateway "$@" --format jsonl 2>/dev/null </dev/null |
        sed -n 's/.*"id":"\([^"\\]*\)".*/\1/p'
}

_dm_gateway() {
    # Split at blanks only: ids and URLs have colons.
    local line=${COMP_LINE:0:COMP_POINT} words word cur='' path='' count=0 waits='' kind
    local -a daemon=()
    read -ra words <<<"$line"
    case $line in
        *[[:space:]]) ;;
        *) cur=${words[-1]} words=("${words[@]:0:${#words[@]}-1}") ;;
    esac
    for word in "${words[@]:1}"; do
        if [[ $waits ]]; then
            case $waits in --config | --socket) daemon+=("$waits" "$word") ;; esac
            waits=''
        elif [[ $word == --*=* ]]; then
            case $word in --config=* | --socket=*) daemon+=("$word") ;; esac
        elif [[ $word == --* ]]; then
            [[ -z $(_dm_gateway_value "$path $word") ]] || waits=$word
        elif [[ $count == 0 && " $(_dm_gateway_commands "$path") " == *" $word "* ]]; then
            path=${path:+$path }$word
        else
            count=$((count + 1))
        fi
    done

    local before='' start=$cur
    if [[ $waits ]]; then
        kind=$(_dm_gateway_value "$path $waits")
    elif [[ $cur == --*=* ]]; then
        before=${cur%%=*}= start=${cur#*=}
        kind=$(_dm_gateway_value "$path ${cur%%=*}")
    elif [[ $cur == -* ]]; then
        kind="words $(_dm_gateway_options "$path")"
    else
        kind=$(_dm_gateway_operand "$path $count")
        [[ $count != 0 ]] || kind+=" words $(_dm_gateway_commands "$path")"
    fi

    COMPREPLY=()
    local rest=$kind candidate
    case $kind in
        file*) mapfile -t COMPREPLY < <(compgen -f -- "$start") ;;
        directory*) mapfile -t COMPREPLY < <(compgen -d -- "$start") ;;
        devices* | servers*)
            while IFS= read -r candidate; do
                [[ $candidate != "$start"* ]] || COMPREPLY+=("$candidate")
            done < <(_dm_gateway_ids "${kind%% *}" "${daemon[@]}")
            ;;
    esac
    [[ $kind == words* ]] || rest=" ${kind#* words }"
    [[ $kind != *words* ]] ||
        for candidate in ${rest#*words }; do
            [[ $candidate != "$start"* ]] || COMPREPLY+=("$candidate")
        done
    case $kind in file* | directory*) compopt -o filenames 2>/dev/null ;; esac

    # readline takes what stands behind the last of its break characters for the word.
    [[ -z $before || $COMP_WORDBREAKS == *=* ]] || COMPREPLY=("${COMPREPLY[@]/#/$before}")
    [[ $COMP_WORDBREAKS != *:* || $start != *:* ]] || COMPREPLY=("${COMPREPLY[@]#"${start%:*}:"}")
}

complete -F _dm_gateway dm-gateway
