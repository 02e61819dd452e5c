# fish completion of dm-gateway. Made from its definition, see tests/generated.

# The command that stands on the line, and how many operands behind it.
function __dm_gateway_line
    set -l known 'run' \
        'status' \
        'check' \
        'devices' \
        'devices list' \
        'devices forget' \
        'devices block' \
        'devices unblock' \
        'devices trust' \
        'devices show' \
        'devices provision' \
        'servers' \
        'servers list' \
        'servers show' \
        'servers approve' \
        'servers deny' \
        'servers test' \
        'map' \
        'map list' \
        'map explain' \
        'map add' \
        'map remove' \
        'session' \
        'tree' \
        'bootstrap' \
        'bootstrap apply' \
        'monitor' \
        'audit' \
        'backup' \
        'restore' \
        'factory-reset' \
        'provision' \
        'provision sign' \
        'provision key' \
        'provision keygen' \
        'support-bundle' \
        'trace' \
        'metrics' \
        'web' \
        'config' \
        'config check' \
        'config show' \
        'config doc' \
        'reload' \
        'apply' \
        'confirm' \
        'log-level' \
        'decode' \
        'manual' \
        'demo' \
        'simulate' \
        'simulate device' \
        'simulate server' \
        'simulate farm'
    set -l valued 'simulate device --wait' 'simulate farm --wait' 'simulate server --wait' --auth --base-address --certificate --client-nonce --client-secret-file --client-user --config --count --device --encoding --for --format --gateway --gateway-id --id --interval --key --listen --mac --max-message-size --messages --module --nonce --only --output --passphrase-file --pin-file --profile --push-port --push-secret-file --push-to --quirk --raw --script --secret-file --server --server-secret-file --session --since --socket --timeout --trial --url --user --write-leases
    set -l path ''
    set -l count 0
    set -l waits 0
    set -l tokens (commandline -opc)
    for token in $tokens[2..-1]
        if test $waits = 1
            set waits 0
        else if string match -q -- '--*' $token
            if contains -- $token $valued; or contains -- "$path $token" $valued
                set waits 1
            end
        else if test $count = 0; and contains -- (string trim "$path $token") $known
            set path (string trim "$path $token")
        else
            set count (math $count + 1)
        end
    end
    echo $path
    echo $count
end

# Whether that command stands there, with so many operands if a number is given.
function __dm_gateway_at
    set -l line (__dm_gateway_line)
    test "$line[1]" = "$argv[1]"; or return 1
    test -z "$argv[2]"; or test "$line[2]" = "$argv[2]"
end

# The ids that the daemon knows. Silent where none answers.
function __dm_gateway_ids
    set -l daemon
    set -l tokens (commandline -opc)
    for option in --config --socket
        for index in (seq 2 (count $tokens))
            if test "$tokens[$index]" = $option; and set -q tokens[(math $index + 1)]
                set -a daemon $option $tokens[(math $index + 1)]
            else if string match -q -- "$option=*" "$tokens[$index]"
                set -a daemon $tokens[$index]
            end
        end
    end
    dm-gateway $argv[1] --format jsonl $daemon 2>/dev/null </dev/null |
        sed -n 's/.*"id":"\([^"\\\\]*\)".*/\1/p'
end

complete -c dm-gateway -f
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a run -d 'runs the gateway in the foreground until SIGTERM or SIGINT; logs to stderr'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a status -d 'whether all is well; if not, what is wrong and what to try'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a check -d 'looks at everything that the gateway needs, and says what is missing'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a devices -d 'the end devices: where each is, since when, and the DM servers that it named'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a servers -d 'the DM servers: whom devices named, whom the gateway has accounts with'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a map -d 'which DM server may wake which end device, and why'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a session -d 'a DM session with a server that the gateway has an account with, now'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a tree -d 'the management tree that DM servers see, with secrets masked'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a bootstrap -d 'accounts with DM servers from a bootstrap document'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a monitor -d 'what happens, while it happens, one line an event, until interrupted'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a audit -d 'who changed what, when, and how it ended'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a backup -d 'writes what the gateway knows to a file of text'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a restore -d 'makes the gateway know what a backup has, and nothing else'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a factory-reset -d 'forgets everything that was learnt, applied or provisioned'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a provision -d 'configuration, accounts and certificates from a signed bundle'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a support-bundle -d 'one file with all that helps to find out what is wrong, and no secret'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a trace -d 'the messages of one end device or DM server, decoded, for a while'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a metrics -d 'counters and gauges, as OpenMetrics text'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a web -d 'a status page for a browser on this machine, read-only, until interrupted'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a config -d 'the configuration: what is wrong with it, which file says what, what keys mean'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a reload -d 'the daemon reads its configuration anew, all of it or nothing'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a apply -d 'applies a piece of configuration on trial: it is taken back unless confirmed'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a confirm -d 'keeps the configuration that is on trial'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a log-level -d 'how much the running daemon logs, for some time'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a decode -d 'what a push, a Package #0 or a SyncML message says, and violates'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a manual -d 'the manual: its chapters, one of them, or what a code means'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a demo -d 'the gateway at work with simulated end devices and DM servers, each step told'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -a simulate -d 'one simulated end device or DM server, or thousands, over real UDP and HTTP'
complete -c dm-gateway -n "__dm_gateway_at '' '0'" -l version -d 'prints the version'
complete -c dm-gateway -l help -d 'explains it'

complete -c dm-gateway -n "__dm_gateway_at 'run' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'

complete -c dm-gateway -n "__dm_gateway_at 'status' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'status' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'status' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'status' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'check' ''" -l only -x -d 'the same; several with commas, or several times'
complete -c dm-gateway -n "__dm_gateway_at 'check' ''" -l list -d 'lists the checks, and does none'
complete -c dm-gateway -n "__dm_gateway_at 'check' ''" -l warnings-as-errors -d 'ends with 1 if there is a warning'
complete -c dm-gateway -n "__dm_gateway_at 'check' ''" -l user -x -d 'whom the service runs as (default: as the daemon runs, else dm-gateway)'
complete -c dm-gateway -n "__dm_gateway_at 'check' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'check' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'check' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'devices' '0'" -a list -d 'all of them; the same as devices alone'
complete -c dm-gateway -n "__dm_gateway_at 'devices' '0'" -a forget -d 'removes all that is known of a device, its mappings too'
complete -c dm-gateway -n "__dm_gateway_at 'devices' '0'" -a block -d 'refuses the pushes and sessions of a device, until it is unblocked'
complete -c dm-gateway -n "__dm_gateway_at 'devices' '0'" -a unblock -d 'ends what `devices block` began'
complete -c dm-gateway -n "__dm_gateway_at 'devices' '0'" -a trust -d 'settles a conflict about a device\'s identity'
complete -c dm-gateway -n "__dm_gateway_at 'devices' '0'" -a show -d 'everything known about one device, what is odd about it and what to do'
complete -c dm-gateway -n "__dm_gateway_at 'devices' '0'" -a provision -d 'gives a device an account for the gateway'
complete -c dm-gateway -n "__dm_gateway_at 'devices' ''" -l all -d 'devices with random Ethernet addresses, too'
complete -c dm-gateway -n "__dm_gateway_at 'devices' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'devices' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'devices' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'devices' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'devices list' ''" -l all -d 'devices with random Ethernet addresses, too'
complete -c dm-gateway -n "__dm_gateway_at 'devices list' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'devices list' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'devices list' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'devices list' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'devices forget' '0'" -a '(__dm_gateway_ids devices)'
complete -c dm-gateway -n "__dm_gateway_at 'devices forget' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'devices forget' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'devices forget' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'devices forget' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'devices forget' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'devices block' '0'" -a '(__dm_gateway_ids devices)'
complete -c dm-gateway -n "__dm_gateway_at 'devices block' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'devices block' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'devices block' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'devices block' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'devices block' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'devices unblock' '0'" -a '(__dm_gateway_ids devices)'
complete -c dm-gateway -n "__dm_gateway_at 'devices unblock' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'devices unblock' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'devices unblock' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'devices unblock' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'devices unblock' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'devices trust' '0'" -a '(__dm_gateway_ids devices)'
complete -c dm-gateway -n "__dm_gateway_at 'devices trust' ''" -l mac -x -d 'the Ethernet address of the true device'
complete -c dm-gateway -n "__dm_gateway_at 'devices trust' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'devices trust' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'devices trust' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'devices trust' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'devices trust' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'devices show' '0'" -a '(__dm_gateway_ids devices)'
complete -c dm-gateway -n "__dm_gateway_at 'devices show' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'devices show' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'devices show' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'devices show' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'devices provision' '0'" -a '(__dm_gateway_ids devices)'
complete -c dm-gateway -n "__dm_gateway_at 'devices provision' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'devices provision' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'devices provision' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'devices provision' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'devices provision' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'servers' '0'" -a list -d 'all of them; the same as servers alone'
complete -c dm-gateway -n "__dm_gateway_at 'servers' '0'" -a show -d 'everything known about one server, what is odd about it and what to do'
complete -c dm-gateway -n "__dm_gateway_at 'servers' '0'" -a approve -d 'lets the gateway bootstrap itself to a wanted server'
complete -c dm-gateway -n "__dm_gateway_at 'servers' '0'" -a deny -d 'forbids the gateway to bootstrap itself to a server, whoever wants it'
complete -c dm-gateway -n "__dm_gateway_at 'servers' '0'" -a test -d 'the way to a server that the gateway has an account with, step by step'
complete -c dm-gateway -n "__dm_gateway_at 'servers' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'servers' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'servers' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'servers' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'servers list' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'servers list' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'servers list' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'servers list' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'servers show' '0'" -a '(__dm_gateway_ids servers)'
complete -c dm-gateway -n "__dm_gateway_at 'servers show' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'servers show' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'servers show' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'servers show' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'servers approve' '0'" -a '(__dm_gateway_ids servers)'
complete -c dm-gateway -n "__dm_gateway_at 'servers approve' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'servers approve' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'servers approve' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'servers approve' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'servers approve' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'servers deny' '0'" -a '(__dm_gateway_ids servers)'
complete -c dm-gateway -n "__dm_gateway_at 'servers deny' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'servers deny' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'servers deny' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'servers deny' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'servers deny' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'servers test' '0'" -a '(__dm_gateway_ids servers)'
complete -c dm-gateway -n "__dm_gateway_at 'servers test' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'servers test' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'servers test' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'servers test' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'map' '0'" -a list -d 'the mappings in force: which DM server may wake which end device'
complete -c dm-gateway -n "__dm_gateway_at 'map' '0'" -a explain -d 'whether a push of a server for a device would pass, and by which rule'
complete -c dm-gateway -n "__dm_gateway_at 'map' '0'" -a add -d 'lets a server wake a device that did not name it'
complete -c dm-gateway -n "__dm_gateway_at 'map' '0'" -a remove -d 'forbids a server to wake a device'

complete -c dm-gateway -n "__dm_gateway_at 'map list' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'map list' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'map list' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'map list' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'map explain' '0'" -a '(__dm_gateway_ids servers)'
complete -c dm-gateway -n "__dm_gateway_at 'map explain' '1'" -a '(__dm_gateway_ids devices)'
complete -c dm-gateway -n "__dm_gateway_at 'map explain' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'map explain' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'map explain' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'map explain' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'map add' '0'" -a '(__dm_gateway_ids servers)'
complete -c dm-gateway -n "__dm_gateway_at 'map add' '1'" -a '(__dm_gateway_ids devices)'
complete -c dm-gateway -n "__dm_gateway_at 'map add' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'map add' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'map add' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'map add' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'map add' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'map remove' '0'" -a '(__dm_gateway_ids servers)'
complete -c dm-gateway -n "__dm_gateway_at 'map remove' '1'" -a '(__dm_gateway_ids devices)'
complete -c dm-gateway -n "__dm_gateway_at 'map remove' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'map remove' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'map remove' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'map remove' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'map remove' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'session' '0'" -a '(__dm_gateway_ids servers)'
complete -c dm-gateway -n "__dm_gateway_at 'session' ''" -l wait -d 'tells every command with its status until the session has ended'
complete -c dm-gateway -n "__dm_gateway_at 'session' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'session' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'session' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'session' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'session' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'tree' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'tree' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'tree' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'tree' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'bootstrap' '0'" -a apply -d 'makes, or makes anew, the accounts in a bootstrap document; all or nothing'

complete -c dm-gateway -n "__dm_gateway_at 'bootstrap apply' '0'" -F
complete -c dm-gateway -n "__dm_gateway_at 'bootstrap apply' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'bootstrap apply' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'bootstrap apply' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'bootstrap apply' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'bootstrap apply' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'monitor' ''" -l device -x -a '(__dm_gateway_ids devices)' -d 'only what concerns this end device'
complete -c dm-gateway -n "__dm_gateway_at 'monitor' ''" -l server -x -a '(__dm_gateway_ids servers)' -d 'only what concerns this DM server'
complete -c dm-gateway -n "__dm_gateway_at 'monitor' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'monitor' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'monitor' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'monitor' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'audit' ''" -l since -x -d 'only what is younger: 30m, 24h, 7d'
complete -c dm-gateway -n "__dm_gateway_at 'audit' ''" -l server -x -a '(__dm_gateway_ids servers)' -d 'only what a DM server did, or was done about it'
complete -c dm-gateway -n "__dm_gateway_at 'audit' ''" -l verify -d 'checks the chain, and shows nothing else'
complete -c dm-gateway -n "__dm_gateway_at 'audit' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'audit' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'audit' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'audit' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'backup' '0'" -F
complete -c dm-gateway -n "__dm_gateway_at 'backup' ''" -l with-secrets -d 'with credentials, encrypted by a passphrase'
complete -c dm-gateway -n "__dm_gateway_at 'backup' ''" -l passphrase-file -r -F -d 'its first line is the passphrase'
complete -c dm-gateway -n "__dm_gateway_at 'backup' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'backup' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'backup' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'backup' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'restore' '0'" -F
complete -c dm-gateway -n "__dm_gateway_at 'restore' ''" -l take-identity -d 'this unit is the one in the backup from now on'
complete -c dm-gateway -n "__dm_gateway_at 'restore' ''" -l keep-identity -d 'this unit stays who it is, without the other\'s accounts'
complete -c dm-gateway -n "__dm_gateway_at 'restore' ''" -l passphrase-file -r -F -d 'its first line is the passphrase'
complete -c dm-gateway -n "__dm_gateway_at 'restore' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'restore' ''" -l config -r -F -d 'the configuration that the daemon runs with'
complete -c dm-gateway -n "__dm_gateway_at 'restore' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'restore' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'factory-reset' ''" -l keep-identity -d 'the unit keeps the ids that it was provisioned with'
complete -c dm-gateway -n "__dm_gateway_at 'factory-reset' ''" -l yes -d 'does not ask'
complete -c dm-gateway -n "__dm_gateway_at 'factory-reset' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'factory-reset' ''" -l config -r -F -d 'the configuration that the daemon runs with'
complete -c dm-gateway -n "__dm_gateway_at 'factory-reset' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'factory-reset' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'provision' '0'" -a sign -d 'signs a bundle'
complete -c dm-gateway -n "__dm_gateway_at 'provision' '0'" -a key -d 'the public key in a PEM file, as [provision] signers takes it'
complete -c dm-gateway -n "__dm_gateway_at 'provision' '0'" -a keygen -d 'makes a private key to sign with, and tells its public key'
complete -c dm-gateway -n "__dm_gateway_at 'provision' '0'" -F
complete -c dm-gateway -n "__dm_gateway_at 'provision' ''" -l from-mount -d 'looks for the bundle in [provision] mount'
complete -c dm-gateway -n "__dm_gateway_at 'provision' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'provision' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'provision' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'provision' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'provision sign' '0'" -F
complete -c dm-gateway -n "__dm_gateway_at 'provision sign' ''" -l key -r -F -d 'the private key, PEM (PKCS #8)'

complete -c dm-gateway -n "__dm_gateway_at 'provision key' '0'" -F

complete -c dm-gateway -n "__dm_gateway_at 'provision keygen' '0'" -F

complete -c dm-gateway -n "__dm_gateway_at 'support-bundle' '0'" -F
complete -c dm-gateway -n "__dm_gateway_at 'support-bundle' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'support-bundle' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'support-bundle' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'support-bundle' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'trace' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'trace' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'trace' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'trace' ''" -l json -d 'the same as --format json'
complete -c dm-gateway -n "__dm_gateway_at 'trace' ''" -l for -x -d 'for how long: 90s, 10m, 1h (default 10m)'
complete -c dm-gateway -n "__dm_gateway_at 'trace' ''" -l messages -x -d 'at most so many messages (default 1000)'

complete -c dm-gateway -n "__dm_gateway_at 'metrics' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'metrics' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'metrics' ''" -l output -r -F -d 'writes there instead of to standard output'

complete -c dm-gateway -n "__dm_gateway_at 'web' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'web' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'web' ''" -l listen -x -d 'loopback address and port (default 127.0.0.1:8088)'

complete -c dm-gateway -n "__dm_gateway_at 'config' '0'" -a check -d 'everything that is wrong with the configuration, at once'
complete -c dm-gateway -n "__dm_gateway_at 'config' '0'" -a show -d 'every value that is set, and with --origin who set it'
complete -c dm-gateway -n "__dm_gateway_at 'config' '0'" -a doc -d 'what a key means, what it takes, and when a change of it counts'

complete -c dm-gateway -n "__dm_gateway_at 'config check' '0'" -F
complete -c dm-gateway -n "__dm_gateway_at 'config check' ''" -l config -r -F -d 'the same as the operand'
complete -c dm-gateway -n "__dm_gateway_at 'config check' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'config check' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'config show' ''" -l origin -d 'who set each value, where, and what it overrides'
complete -c dm-gateway -n "__dm_gateway_at 'config show' ''" -l all -d 'defaults too'
complete -c dm-gateway -n "__dm_gateway_at 'config show' ''" -l files -d 'what the files say, whatever a daemon runs with'
complete -c dm-gateway -n "__dm_gateway_at 'config show' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'config show' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'config show' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'config show' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'config doc' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'config doc' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'reload' ''" -l restart -d 'starts the daemon anew if something needs that'
complete -c dm-gateway -n "__dm_gateway_at 'reload' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'reload' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'reload' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'reload' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'reload' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'apply' '0'" -F
complete -c dm-gateway -n "__dm_gateway_at 'apply' ''" -l trial -x -d 'how long it is on trial: 90s, 10m (default), 2h'
complete -c dm-gateway -n "__dm_gateway_at 'apply' ''" -l restart -d 'starts the daemon anew if something needs that'
complete -c dm-gateway -n "__dm_gateway_at 'apply' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'apply' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'apply' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'apply' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'apply' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'confirm' ''" -l discard -d 'takes it back instead'
complete -c dm-gateway -n "__dm_gateway_at 'confirm' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'confirm' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'confirm' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'confirm' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'confirm' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'log-level' '0'" -a 'error warn info debug trace'
complete -c dm-gateway -n "__dm_gateway_at 'log-level' ''" -l for -x -d 'for how long: 90s, 15m (default), 2h'
complete -c dm-gateway -n "__dm_gateway_at 'log-level' ''" -l module -x -d 'of this one only, such as gateway::forward'
complete -c dm-gateway -n "__dm_gateway_at 'log-level' ''" -l dry-run -d 'says what would be done, and does nothing'
complete -c dm-gateway -n "__dm_gateway_at 'log-level' ''" -l config -r -F -d 'the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)'
complete -c dm-gateway -n "__dm_gateway_at 'log-level' ''" -l socket -r -F -d 'the daemon\'s control socket, instead'
complete -c dm-gateway -n "__dm_gateway_at 'log-level' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'log-level' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'decode' ''" -F
complete -c dm-gateway -n "__dm_gateway_at 'decode' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'decode' ''" -l json -d 'the same as --format json'


complete -c dm-gateway -n "__dm_gateway_at 'demo' ''" -l keep-running -d 'stays up afterwards, to be looked at with the other commands'
complete -c dm-gateway -n "__dm_gateway_at 'demo' ''" -l format -x -a 'table json jsonl' -d 'how to print it'
complete -c dm-gateway -n "__dm_gateway_at 'demo' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'simulate' '0'" -a device -d 'one end device'
complete -c dm-gateway -n "__dm_gateway_at 'simulate' '0'" -a server -d 'one DM server, which pushes and may manage its clients'
complete -c dm-gateway -n "__dm_gateway_at 'simulate' '0'" -a farm -d 'thousands of end devices'

complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l id -x -d 'its identity'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l listen -x -d 'where it takes pushes'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l gateway -x -d 'where it opens sessions with the gateway'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l gateway-id -x -d 'the gateway\'s DM server id (default: any unknown id)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l server -x -d 'a DM server it is bootstrapped to; may be repeated'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l encoding -x -a 'xml wbxml' -d 'how it writes (default: xml)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l quirk -x -d 'a real client\'s behaviour; may be repeated, `list` prints all'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l open-session -d 'opens a session without waiting for a push'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l push-secret-file -r -F -d 'checks the digest of their Package #0'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l profile -x -a 'registered draft' -d 'the names of the alert types (default: registered)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l auth -x -a 'none basic md5' -d 'how it proves itself to the gateway (default: none)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l user -x -d 'its name for that'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l secret-file -r -F -d 'its secret for that'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l server-secret-file -r -F -d 'the gateway\'s secret'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l factory-fresh -d 'has no account: a bootstrap push gives it one'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l pin-file -r -F -d 'the pin that must prove that bootstrap'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l wait -x -d 'exit code 0 once the event came (N times)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l timeout -x -d 'ends then, exit code 1 if an event is still awaited (default: never)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l format -x -a 'json jsonl' -d 'both are one JSON line an event'
complete -c dm-gateway -n "__dm_gateway_at 'simulate device' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l id -x -d 'its server id'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l listen -x -d 'where it serves'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l push-to -x -d 'pushes there'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l device -x -d 'the device in X-Oma-GwMO; without one the gateway itself is asked into a session'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l session -x -d 'first session id (default: 1)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l count -x -d 'how many pushes (default: 1)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l interval -x -d 'how far apart (default: 1)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l repeat -d 'sends the same octets each time instead of counting up'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l raw -x -d 'sends these octets instead of a push'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l secret-file -r -F -d 'its secret: signs Package #0'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l push-on-association -d 'pushes to every gateway that a device names'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l push-port -x -d 'port of those gateways (default: 2948)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l script -r -F -d 'commands to send, one a line'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l auth -x -a 'none basic md5 mac' -d 'how both sides prove who they are (default: md5)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l user -x -d 'the server\'s own name (default: its id)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l nonce -x -d 'the server\'s own nonce'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l client-user -x -d 'its clients\' name'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l client-secret-file -r -F -d 'its clients\' secret'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l client-nonce -x -d 'its clients\' nonce'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l url -x -d 'where clients are told to send answers'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l max-message-size -x -d 'octets that it takes in one message'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l certificate -r -F -d 'PEM: serves over HTTPS instead of HTTP'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l key -r -F -d 'PEM: the key of that certificate'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l wrong-credentials -d 'proves itself with another secret'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l no-credentials -d 'does not prove itself'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l stale-nonce -d 'proves itself with an old nonce until it is given a new one'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l basic-only -d 'asks for the client\'s secret in clear'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l version-513 -d 'refuses the version of the protocol, Status 513'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l broken-object -d 'sends a large object that is shorter than it said'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l redirect -d 'answers with HTTP 302'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l private-uri -d 'wants answers sent to a private address'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l slow -d 'takes 5 seconds for each answer'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l cut -d 'closes the connection instead of an answer'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l wait -x -d 'exit code 0 once the event came (N times)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l timeout -x -d 'ends then, exit code 1 if an event is still awaited (default: never)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l format -x -a 'json jsonl' -d 'both are one JSON line an event'
complete -c dm-gateway -n "__dm_gateway_at 'simulate server' ''" -l json -d 'the same as --format json'

complete -c dm-gateway -n "__dm_gateway_at 'simulate farm' ''" -l count -x -d 'how many devices'
complete -c dm-gateway -n "__dm_gateway_at 'simulate farm' ''" -l base-address -x -d 'address of the first one'
complete -c dm-gateway -n "__dm_gateway_at 'simulate farm' ''" -l push-port -x -d 'UDP port of all of them (default: 2948)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate farm' ''" -l write-leases -r -F -d 'makes the devices come up in a dnsmasq lease file'
complete -c dm-gateway -n "__dm_gateway_at 'simulate farm' ''" -l gateway -x -d 'where it opens sessions with the gateway'
complete -c dm-gateway -n "__dm_gateway_at 'simulate farm' ''" -l gateway-id -x -d 'the gateway\'s DM server id (default: any unknown id)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate farm' ''" -l server -x -d 'a DM server it is bootstrapped to; may be repeated'
complete -c dm-gateway -n "__dm_gateway_at 'simulate farm' ''" -l encoding -x -a 'xml wbxml' -d 'how it writes (default: xml)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate farm' ''" -l quirk -x -d 'a real client\'s behaviour; may be repeated, `list` prints all'
complete -c dm-gateway -n "__dm_gateway_at 'simulate farm' ''" -l open-session -d 'opens a session without waiting for a push'
complete -c dm-gateway -n "__dm_gateway_at 'simulate farm' ''" -l wait -x -d 'exit code 0 once the event came (N times)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate farm' ''" -l timeout -x -d 'ends then, exit code 1 if an event is still awaited (default: never)'
complete -c dm-gateway -n "__dm_gateway_at 'simulate farm' ''" -l format -x -a 'json jsonl' -d 'both are one JSON line an event'
complete -c dm-gateway -n "__dm_gateway_at 'simulate farm' ''" -l json -d 'the same as --format json'
