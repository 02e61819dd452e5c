//! The clock, and the service as it runs.

use super::{Check, Daemon, Finding, Scene, Verdict};
use crate::codes;
use crate::gateway::health::{Severity, date};
use crate::io::{facts, inspect};
use crate::limits;
use log::LevelFilter;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) const CLOCK: &[Check] = &[
    Check::new(codes::CLOCK_WRONG, "the clock is not before this program was made", clock),
    Check::new(codes::CLOCK_UNSYNCHRONISED, "a time server keeps the clock", synchronised),
    Check::new(codes::CLOCK_BACK, "the clock has not gone back", back),
];

pub(super) const CHECKS: &[Check] = &[
    Check::new(codes::USER, "the user of the service exists", user),
    Check::new(codes::DISABLED, "the service starts with the system", enabled),
    Check::new(codes::UNREACHABLE, "the daemon answers", answers),
    Check::new(codes::VERSION, "the daemon is of this version", version),
    Check::new(codes::FILE_LIMIT, "the daemon may open enough files", files),
    Check::new(codes::MEMORY, "there is memory left", memory),
    Check::new(codes::ENTROPY, "random numbers are ready", entropy),
    Check::new(codes::LOG_LEVEL, "the log is not left at debug", log_level),
    Check::new(codes::DAEMON, "the daemon itself has nothing to tell", told),
];

fn clock(scene: &Scene) -> Vec<Finding> {
    let (now, made) = (date(scene.now), date(limits::BUILT));
    if scene.now >= limits::BUILT {
        return vec![Finding::ok(format!("the clock says {now}"))];
    }
    let what = format!("the clock says {now}, and this program was made after {made}");
    vec![Finding::fail(codes::CLOCK_WRONG, what)]
}

fn synchronised(_: &Scene) -> Vec<Finding> {
    vec![match facts::synchronised().or_else(kernel_synchronised) {
        Some(true) => Finding::ok(""),
        Some(false) => {
            Finding::warn(codes::CLOCK_UNSYNCHRONISED, codes::CLOCK_UNSYNCHRONISED.title)
        }
        None => Finding::skipped(
            "neither systemd-timesyncd nor chrony nor ntpd tells, nor timedatectl or adjtimex",
        ),
    }]
}

/// What the kernel has been told by whoever keeps its clock, asked by programs that only ask.
fn kernel_synchronised() -> Option<bool> {
    let ask = |program: &str, arguments: &[&str]| {
        let text = inspect::output(program, arguments, limits::CHECK_QUESTION).ok()?;
        String::from_utf8(text).ok()
    };
    let systemd = || match ask("timedatectl", &["show", "-p", "NTPSynchronized", "--value"])?.trim()
    {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    };
    let busybox = || ask("adjtimex", &[]).or_else(|| ask("busybox", &["adjtimex"]));
    systemd().or_else(|| unsynchronised(&busybox()?).map(|it| !it))
}

/// Whether the status that BusyBox's adjtimex prints has STA_UNSYNC.
fn unsynchronised(text: &str) -> Option<bool> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("status:"))?;
    let status = line.split_whitespace().next()?.parse::<u32>().ok()?;
    Some(status & 0x40 != 0)
}

fn back(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| match inspect::newest_change(&config.state_dir) {
        None => vec![Finding::skipped("nothing was written yet, or it may not be looked at")],
        // A file system may be a little ahead.
        Some(newest) if newest > scene.now + 60 => {
            let (newest, now) = (date(newest), date(scene.now));
            let what = format!("the state directory was written on {newest}, the clock says {now}");
            vec![Finding::warn(codes::CLOCK_BACK, what)]
        }
        Some(_) => vec![Finding::ok("")],
    })
}

fn user(scene: &Scene) -> Vec<Finding> {
    let name = &scene.user_name;
    if let Some(user) = &scene.user {
        return vec![Finding::ok(format!("files are judged for {}", user.name))];
    }
    if unit().is_some() {
        return vec![Finding::fail(codes::USER, format!("there is no user {name}"))];
    }
    let own = scene.service().name;
    vec![Finding::skipped(format!("there is no user {name}: files are judged for {own}"))]
}

/// The unit that is installed.
fn unit() -> Option<PathBuf> {
    let places = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
    places.map(|it| Path::new(it).join("dm-gateway.service")).into_iter().find(|it| it.exists())
}

fn enabled(_: &Scene) -> Vec<Finding> {
    if unit().is_none() {
        return vec![Finding::skipped("no unit is installed")];
    }
    let wanted = "multi-user.target.wants/dm-gateway.service";
    let places = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
    let is_there = |place: &&str| fs::symlink_metadata(Path::new(place).join(wanted)).is_ok();
    if places.iter().any(is_there) {
        return vec![Finding::ok("")];
    }
    vec![Finding::warn(codes::DISABLED, "the unit is installed and not enabled")]
}

fn answers(scene: &Scene) -> Vec<Finding> {
    match &scene.daemon {
        Some(Daemon { pid: Some(pid), .. }) => vec![Finding::ok(format!("it is process {pid}"))],
        Some(_) => vec![Finding::ok("")],
        None => match &scene.silence {
            // What the configuration lacks is told by its own check.
            Some(trouble) if trouble.code.starts_with("GW-CTL-") => vec![Finding {
                verdict: Verdict::Warn,
                trouble: trouble.as_ref().clone().or_try(codes::UNREACHABLE.remedy),
            }],
            _ => vec![Finding::skipped("the configuration does not tell the control socket")],
        },
    }
}

fn version(scene: &Scene) -> Vec<Finding> {
    scene.running(|daemon| {
        let (running, own) = (&daemon.status.status.version, env!("CARGO_PKG_VERSION"));
        if running == own {
            return vec![Finding::ok(format!("both are {own}"))];
        }
        let what = format!("the daemon is {running}, and this program is {own}");
        vec![Finding::warn(codes::VERSION, what)]
    })
}

fn files(scene: &Scene) -> Vec<Finding> {
    scene.running(|daemon| {
        let limits_of = |pid| fs::read_to_string(format!("/proc/{pid}/limits")).ok();
        let text = daemon.pid.and_then(limits_of).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
        let most = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        let used = daemon.pid.and_then(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok());
        let used = used.map_or(0, |entries| entries.count() as u64);
        match most {
            None => vec![Finding::skipped("the limit cannot be read")],
            Some(most) if most < 512 || used > most - most / 10 => {
                let what = format!("{used} of at most {most} files are open");
                vec![Finding::warn(codes::FILE_LIMIT, what)]
            }
            Some(most) => vec![Finding::ok(format!("{used} of at most {most} files are open"))],
        }
    })
}

fn memory(_: &Scene) -> Vec<Finding> {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let Some(free) = kib.map(|kib| kib * 1024) else {
        return vec![Finding::skipped("/proc/meminfo cannot be read")];
    };
    let what = format!("{} MiB are available", free >> 20);
    vec![if free < limits::MEMORY_LOW {
        Finding::warn(codes::MEMORY, what)
    } else {
        Finding::ok(what)
    }]
}

fn entropy(_: &Scene) -> Vec<Finding> {
    match inspect::number_of("/proc/sys/kernel/random/entropy_avail") {
        Some(bits) if bits < 128 => {
            vec![Finding::warn(codes::ENTROPY, format!("the kernel has {bits} bits"))]
        }
        Some(_) => vec![Finding::ok("")],
        None => vec![Finding::skipped("the kernel does not tell")],
    }
}

fn log_level(scene: &Scene) -> Vec<Finding> {
    scene.running(|daemon| {
        let level = daemon.pid.and_then(|pid| inspect::variable(pid, "DM_GATEWAY_LOG"));
        match level.as_deref() {
            Some(level @ ("debug" | "trace")) => {
                vec![Finding::warn(codes::LOG_LEVEL, format!("DM_GATEWAY_LOG is {level}"))]
            }
            Some(_) => vec![Finding::ok("")],
            None => match scene.config.as_ref().ok().and_then(|config| config.log_level) {
                Some(level @ (LevelFilter::Debug | LevelFilter::Trace)) => {
                    let level = level.as_str().to_ascii_lowercase();
                    let what = format!("[log] level is {level}");
                    vec![Finding::warn(codes::LOG_LEVEL, what)]
                }
                _ => vec![Finding::ok("")],
            },
        }
    })
}

/// The lines of `status`, each by its own code.
fn told(scene: &Scene) -> Vec<Finding> {
    scene.running(|daemon| {
        let lines = &daemon.status.status.troubles;
        let finding = |line: &crate::gateway::health::HealthLine| Finding {
            verdict: match line.severity {
                Severity::Warn => Verdict::Warn,
                Severity::Fail => Verdict::Fail,
            },
            trouble: line.trouble.clone(),
        };
        if lines.is_empty() {
            return vec![Finding::ok("")];
        }
        lines.iter().map(finding).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busyboxs_adjtimex_tells_by_a_bit_of_the_status() {
        let text = "    mode:         0\n-o  offset:       0 us\n    status:       64 (UNSYNC)\n";
        assert_eq!(unsynchronised(text), Some(true));
        assert_eq!(unsynchronised("    status:       1 (PLL)\n"), Some(false));
        assert_eq!(unsynchronised("    status:       8193 (PLL | NANO)\n"), Some(false));
        assert_eq!(unsynchronised("no"), None);
    }
}
