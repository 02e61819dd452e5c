//! Completions for bash, zsh and fish: the same tables, by three scripts that walk through them.
//!
//! Ids of devices and servers are asked from the daemon that the line names; where none answers
//! there are none, and nothing is said.

use super::{Files, choices, paths, root};
use dm_gateway::cli::definition::{Choice, Command, Kind, Times, name};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{self, Output};
use tempfile::TempDir;

/// The scripts by their file names.
pub(crate) fn files(commands: &'static [Command]) -> Files {
    let files = [
        ("dm-gateway.bash", bash(commands)),
        ("_dm-gateway", zsh(commands)),
        ("dm-gateway.fish", fish(commands)),
    ];
    files.map(|(name, text)| (name.to_owned(), text)).into()
}

// --- bash ------------------------------------------------------------------------------------

fn bash(commands: &'static [Command]) -> String {
    let mut of_commands = String::new();
    let mut of_options = String::new();
    let mut of_operands = String::new();
    let below = |commands: &[Command]| {
        commands.iter().map(|command| command.name).collect::<Vec<_>>().join(" ")
    };
    let _ = writeln!(of_commands, "        '') echo '{}' ;;", below(commands));
    for path in paths(commands) {
        let (path, command) = (name(&path), *path.last().unwrap());
        if !command.commands.is_empty() {
            let _ =
                writeln!(of_commands, "        '{path}') echo '{}' ;;", below(command.commands));
        }
        let longs: Vec<_> = choices(command).map(|choice| format!("--{}", choice.long)).collect();
        let longs = [longs, vec!["--help".to_owned()]].concat().join(" ");
        let _ = writeln!(of_options, "        '{path}') echo '{longs}' ;;");
        for (index, operand) in command.operands.iter().enumerate() {
            let index = match operand.times {
                Times::Once | Times::Optional => index.to_string(),
                Times::Many | Times::Any => "*".to_owned(),
            };
            let kind = kind(operand.kind);
            let pattern = match index.as_str() {
                "*" => format!("'{path} '*"),
                index => format!("'{path} {index}'"),
            };
            let _ = writeln!(of_operands, "        {pattern}) echo '{kind}' ;;");
        }
    }
    let mut of_values = String::new();
    for (pattern, kind) in values(commands) {
        let pattern = match pattern.strip_prefix('*') {
            Some(option) => format!("*'{option}'"),
            None => format!("'{pattern}'"),
        };
        let _ = writeln!(of_values, "        {pattern}) echo '{kind}' ;;");
    }
    BASH.replace("@commands@", &of_commands)
        .replace("@options@", &of_options)
        .replace("@operands@", &of_operands)
        .replace("@values@", &of_values)
}

const BASH: &str = r#"# bash completion of dm-gateway. Made from its definition, see tests/generated.
# shellcheck shell=bash

# What stands below a command.
_dm_gateway_commands() {
    case $1 in
@commands@    esac
}

# The options of a command.
_dm_gateway_options() {
    case $1 in
        '') echo '--help --version' ;;
@options@    esac
}

# What the operand of a command is that has so many before it.
_dm_gateway_operand() {
    case $1 in
@operands@    esac
}

# What the value of a command's option is; nothing for a flag.
_dm_gateway_value() {
    case $1 in
@values@    esac
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
"#;

// --- zsh -------------------------------------------------------------------------------------

fn zsh(commands: &'static [Command]) -> String {
    let mut script = ZSH.to_owned();
    script += &zsh_function("_dm_gateway", commands, None);
    for path in paths(commands) {
        let command = *path.last().unwrap();
        script += &zsh_function(&zsh_name(&path), command.commands, Some(command));
    }
    script + "_dm_gateway \"$@\"\n"
}

const ZSH: &str = r#"#compdef dm-gateway
# zsh completion of dm-gateway. Made from its definition, see tests/generated.

# The ids that the daemon knows. Silent where none answers.
_dm_gateway_ids() {
    local -a typed=(${(z)LBUFFER}) daemon ids
    local index
    for (( index = 1; index < $#typed; index++ )); do
        case $typed[index] in
            --config | --socket) daemon+=($typed[index] ${(Q)typed[index + 1]}) ;;
            --config=* | --socket=*) daemon+=(${(Q)typed[index]}) ;;
        esac
    done
    ids=(${(f)"$(dm-gateway $argv[-1] --format jsonl $daemon 2>/dev/null </dev/null |
        sed -n 's/.*"id":"\([^"\\]*\)".*/\1/p')"})
    # What it was called with stands behind what compadd wants.
    compadd "${@[1,-2]}" -a ids
}

"#;

fn zsh_name(path: &[&'static Command]) -> String {
    format!("_dm_gateway_{}", name(path).replace([' ', '-'], "_"))
}

fn zsh_function(
    name: &str,
    below: &'static [Command],
    command: Option<&'static Command>,
) -> String {
    let mut specs = vec!["'(- *)--help[explains it]'".to_owned()];
    if command.is_none() {
        specs.push("'(- *)--version[prints the version]'".to_owned());
    }
    for choice in command.into_iter().flat_map(choices) {
        let many = if choice.many { "*" } else { "" };
        let about = zsh_quoted(choice.text);
        specs.push(match choice.value {
            None => format!("'{many}--{}[{about}]'", choice.long),
            Some((value, kind)) => {
                let value = zsh_quoted(value);
                format!("'{many}--{}=[{about}]:{value}:{}'", choice.long, zsh_action(kind))
            }
        });
    }
    let operands = command.map_or(&[][..], |command| command.operands);
    let mut function = format!("{name}() {{\n");
    if below.is_empty() {
        for operand in operands {
            let (lead, action) = (zsh_quoted(operand.name), zsh_action(operand.kind));
            specs.push(match operand.times {
                Times::Once => format!("':{lead}:{action}'"),
                Times::Optional => format!("'::{lead}:{action}'"),
                Times::Many | Times::Any => format!("'*:{lead}:{action}'"),
            });
        }
        let _ = writeln!(function, "    typeset -A opt_args\n    _arguments \\");
        function += &zsh_lines(&specs);
        return function + "}\n\n";
    }
    function += "    local curcontext=$curcontext state line\n    typeset -A opt_args\n";
    function += "    local -a commands=(\n";
    for command in below {
        let _ = writeln!(function, "        '{}:{}'", command.name, zsh_quoted(command.summary));
    }
    function += "    )\n    _arguments -C -A '-*' \\\n";
    specs.push("'1:command:->command'".to_owned());
    specs.push("'*::argument:->argument'".to_owned());
    function += &zsh_lines(&specs);
    function += "    case $state in\n        command) _describe command commands ;;\n";
    function += "        argument)\n            case $line[1] in\n";
    for command in below {
        let deeper = format!("{name}_{}", command.name.replace('-', "_"));
        let _ = writeln!(function, "                {}) {deeper} ;;", command.name);
    }
    function + "            esac\n            ;;\n    esac\n}\n\n"
}

fn zsh_lines(specs: &[String]) -> String {
    specs.iter().map(|spec| format!("        {spec}")).collect::<Vec<_>>().join(" \\\n") + "\n"
}

fn zsh_action(kind: Kind) -> String {
    match kind {
        Kind::Text => " ".to_owned(),
        Kind::File => "_files".to_owned(),
        Kind::Directory => "_files -/".to_owned(),
        Kind::Words(words) => format!("({})", words.join(" ")),
        Kind::Server => "_dm_gateway_ids servers".to_owned(),
        Kind::Device => "_dm_gateway_ids devices".to_owned(),
    }
}

/// What stands in a specification of `_arguments` in single quotes.
fn zsh_quoted(text: &str) -> String {
    let mut quoted = String::new();
    for character in text.chars() {
        match character {
            '\'' => quoted += "'\\''",
            '[' | ']' | ':' => quoted.extend(['\\', character]),
            other => quoted.push(other),
        }
    }
    quoted
}

// --- fish ------------------------------------------------------------------------------------

fn fish(commands: &'static [Command]) -> String {
    let all = paths(commands);
    let known: Vec<_> = all.iter().map(|path| format!("'{}'", name(path))).collect();
    // By its name alone where it is no flag elsewhere.
    let flags = all.iter().flat_map(|path| choices(path.last().unwrap()));
    let flags: BTreeSet<_> = flags.filter(|it| it.value.is_none()).map(|it| it.long).collect();
    let mut valued = BTreeSet::new();
    for path in &all {
        for choice in choices(path.last().unwrap()).filter(|choice| choice.value.is_some()) {
            valued.insert(match flags.contains(choice.long) {
                true => format!("'{} --{}'", name(path), choice.long),
                false => format!("--{}", choice.long),
            });
        }
    }
    let valued: Vec<_> = valued.into_iter().collect();
    let mut script = FISH
        .replace("@known@", &known.join(" \\\n        "))
        .replace("@valued@", &valued.join(" "));
    for command in commands {
        script += &fish_line(
            "",
            "0",
            &format!("-a {} -d {}", command.name, fish_quoted(command.summary)),
        );
    }
    script += &fish_line("", "0", "-l version -d 'prints the version'");
    script += "complete -c dm-gateway -l help -d 'explains it'\n";
    for path in &all {
        let (path, command) = (name(path), *path.last().unwrap());
        script.push('\n');
        for command in command.commands {
            let what = format!("-a {} -d {}", command.name, fish_quoted(command.summary));
            script += &fish_line(&path, "0", &what);
        }
        for (index, operand) in command.operands.iter().enumerate() {
            let index = match operand.times {
                Times::Once | Times::Optional => index.to_string(),
                Times::Many | Times::Any => String::new(),
            };
            if let Some(what) = fish_kind(operand.kind) {
                script += &fish_line(&path, &index, what.as_str());
            }
        }
        for choice in choices(command) {
            script += &fish_line(&path, "", &fish_option(choice));
        }
    }
    script
}

const FISH: &str = r#"# fish completion of dm-gateway. Made from its definition, see tests/generated.

# The command that stands on the line, and how many operands behind it.
function __dm_gateway_line
    set -l known @known@
    set -l valued @valued@
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
"#;

fn fish_line(path: &str, count: &str, what: &str) -> String {
    format!("complete -c dm-gateway -n \"__dm_gateway_at '{path}' '{count}'\" {what}\n")
}

fn fish_option(choice: &Choice) -> String {
    let about = fish_quoted(choice.text);
    let value = choice.value.map_or_else(String::new, |(_, kind)| match kind {
        Kind::File | Kind::Directory => " -r -F".to_owned(),
        _ => fish_kind(kind).map_or_else(|| " -x".to_owned(), |what| format!(" -x {what}")),
    });
    format!("-l {}{value} -d {about}", choice.long)
}

fn fish_kind(kind: Kind) -> Option<String> {
    Some(match kind {
        Kind::Text => return None,
        Kind::File => "-F".to_owned(),
        Kind::Directory => "-a '(__fish_complete_directories)'".to_owned(),
        Kind::Words(words) => format!("-a '{}'", words.join(" ")),
        Kind::Server => "-a '(__dm_gateway_ids servers)'".to_owned(),
        Kind::Device => "-a '(__dm_gateway_ids devices)'".to_owned(),
    })
}

fn fish_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

// --- Tables ----------------------------------------------------------------------------------

/// What the values of options are, by command and option; `* --option` where all agree.
fn values(commands: &'static [Command]) -> Vec<(String, String)> {
    let mut by_option = BTreeMap::<&str, BTreeMap<String, String>>::new();
    for path in paths(commands) {
        for choice in choices(path.last().unwrap()) {
            if let Some((_, it)) = choice.value {
                by_option.entry(choice.long).or_default().insert(name(&path), kind(it));
            }
        }
    }
    let mut values = Vec::new();
    for (long, paths) in by_option {
        let kinds: BTreeSet<_> = paths.values().collect();
        match kinds.first() {
            Some(kind) if kinds.len() == 1 => values.push((format!("* --{long}"), (*kind).clone())),
            _ => values
                .extend(paths.into_iter().map(|(path, kind)| (format!("{path} --{long}"), kind))),
        }
    }
    values
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::File => "file".to_owned(),
        Kind::Directory => "directory".to_owned(),
        Kind::Words(words) => format!("words {}", words.join(" ")),
        Kind::Server => "servers".to_owned(),
        Kind::Device => "devices".to_owned(),
    }
}

// --- Trying them -----------------------------------------------------------------------------

/// A directory with a file and two sockets on which a daemon answers, for shells to complete in.
pub(crate) struct Bench {
    directory: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("account.xml"), "").unwrap();
        let full = |id: &str| {
            format!(
                r#"{{"id":"{id}","address":null,"lan":"a","state":"attached","age":1,"servers":[],"aliases":[],"named":true,"seen":null,"unconfirmed":false,"detection":null,"waiting":[],"conflict":null}}"#
            )
        };
        let devices = format!(
            r#"{{"schema":1,"devices":[{},{}]}}"#,
            full("IMEI:490154203237518"),
            full("mac:02-00-00-00-00-09")
        );
        let servers = r#"{"schema":1,"servers":[{"id":"com.example.dms","state":"mapped","mapped":1,"wanted":0,"age":1}]}"#;
        for (name, answer) in [("devices.sock", devices), ("servers.sock", servers.to_owned())] {
            let listener = UnixListener::bind(directory.path().join(name)).unwrap();
            std::thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    let mut asked = String::new();
                    let _ = BufReader::new(&stream).read_line(&mut asked);
                    let _ = writeln!(stream, "{answer}");
                }
            });
        }
        Self { directory }
    }

    /// What bash would offer for the last word, sorted.
    pub(crate) fn bash(&self, typed: &str) -> Vec<String> {
        let script = format!(
            "source {script}; COMP_LINE='{typed}'; COMP_POINT=${{#COMP_LINE}}; COMP_WORDBREAKS=' \n'\n\
             _dm_gateway; [[ ${{#COMPREPLY[@]}} == 0 ]] || printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script = scripts("dm-gateway.bash").display()
        );
        offered(&self.run("bash", &["--norc", "-c", &script]))
    }

    /// What fish would offer for the last word, sorted.
    pub(crate) fn fish(&self, typed: &str) -> Vec<String> {
        let script =
            format!("source {}; complete -C '{typed}'", scripts("dm-gateway.fish").display());
        offered(&self.run("fish", &["--no-config", "-c", &script]))
    }

    /// What zsh shows on its terminal after a tab, up to all of `words`.
    pub(crate) fn zsh(&self, typed: &str, words: &[&str]) -> String {
        let all: Vec<_> = words.iter().map(|word| format!("$all == *{word}*")).collect();
        let script = format!(
            r#"zmodload zsh/zpty; zpty -b shell zsh -f -i
            zpty -w shell 'PS1=; fpath=({scripts} $fpath); autoload -U compinit; compinit -u -D'
            zpty -w shell 'LISTMAX=1000; setopt nobeep; print READ''Y'
            zpty -r -m shell text '*READY*'
            zpty -w -n shell '{typed}'$'\t\t'
            for turn in {{1..300}}; do
                sleep 0.1
                while zpty -r -t shell part; do all+=$part; done
                [[ {all} ]] && break
            done
            print -r -- $all; zpty -d shell"#,
            scripts = scripts("").display(),
            all = all.join(" && "),
        );
        let output = self.run("zsh", &["-f", "-c", &script]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn run(&self, shell: &str, arguments: &[&str]) -> Output {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_dm-gateway"));
        let programs = program.parent().unwrap().display();
        let output = process::Command::new(shell)
            .args(arguments)
            .current_dir(self.directory.path())
            .env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap()))
            .env("HOME", self.directory.path())
            .env("TERM", "dumb")
            .output()
            .unwrap();
        assert!(output.stderr.is_empty(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

fn scripts(file: &str) -> PathBuf {
    root().join("systemd/completions").join(file)
}

/// Words without what is told of them.
fn offered(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned());
    let words: BTreeSet<String> = words.filter(|word| !word.is_empty()).collect();
    words.into_iter().collect()
}
