//! The manual: one chapter a module, for operators, integrators and those who run DM servers.
//!
//! The chapters are Markdown files beside this one. They are part of this documentation, and
//! `dm-gateway manual` prints them; [`terminal`] makes them readable there. Some are generated:
//! [`commands`], [`codes`] and [`keys`] by [`reference`](mod@reference), [`gallery`] and [`conformance`] by
//! the tests of these names. Tests hold them against what they are made from.
//!
//! Chapters refer to each other by reference links, `[text][policies]`, which each file defines at
//! its end for readers of the plain files. `links.md` defines the same names before, and first
//! definitions win: so the links lead to modules here.

pub mod reference;
pub mod terminal;

/// One chapter.
#[derive(Clone, Copy, Debug)]
pub struct Chapter {
    /// The name that `dm-gateway manual` knows it by, and that of its file without `.md`.
    pub topic: &'static str,
    /// What it is about, in one line without an end.
    pub about: &'static str,
    /// Its text, as Markdown; `None` in a build without the feature `manual`. Two that are large,
    /// and not for a router, are in a build with simulators only.
    pub text: Option<&'static str>,
}

macro_rules! chapters {
    ($($module:ident $topic:literal $about:literal $($feature:literal)?;)*) => {
        $(
            #[doc = include_str!("links.md")]
            #[doc = include_str!(concat!($topic, ".md"))]
            pub mod $module {}
        )*

        /// The chapters, in the order in which they are read.
        pub const CHAPTERS: &[Chapter] = &[$(
            Chapter {
                topic: $topic,
                about: $about,
                #[cfg(all(feature = "manual" $(, feature = $feature)?))]
                text: Some(include_str!(concat!($topic, ".md"))),
                #[cfg(not(all(feature = "manual" $(, feature = $feature)?)))]
                text: None,
            },
        )*];
    };
}

chapters! {
    quick_start "quick-start" "from the source to the first push, on a real router, one page";
    architecture "architecture" "zones, data flows, the life of a device and of a push, what is stored where";
    policies "policies" "ignore, bootstrap or transparent, and what each risks";
    pushes "pushes" "how pushes reach the gateway: carriers, VPNs, HTTP";
    managed "managed" "accounts, bootstraps, sessions with DM servers, devices' accounts";
    configuration "configuration" "one file line by line; several files, reload, a change on trial";
    keys "keys" "every key: what it takes, its default, reload or restart; which file counts";
    commands "commands" "every command, its options and exit codes";
    operations "operations" "backup, upgrade, fleets, data volume, the log";
    troubleshooting "troubleshooting" "what you see, what to type, what it means";
    codes "codes" "every code GW-AREA-NN: what is wrong, why, and what to do";
    journal "journal" "every line of the log: its level, and the MESSAGE_ID by which to find it";
    captures "captures" "catching packets: ports, filters, reading them";
    security "security" "threats, hardening, what is not protected";
    integrators "integrators" "images, packages, A/B updates, the production line";
    dm_servers "dm-servers" "what a DM server sees, statuses, timing, fleets";
    gallery "gallery" "every message in every form: valid, tolerated, refused" "simulate";
    conformance "conformance" "requirement by requirement: what is met, and which test shows it" "simulate";
    numbers "numbers" "figures, the commands that make them, bounds";
    changes "changes" "what changed in each version, and what operators must do";
    glossary "glossary" "OMA's words";
    contributing "contributing" "tests, rules, where to start";
}

/// The chapter of a topic, in any case.
pub fn chapter(topic: &str) -> Option<&'static Chapter> {
    CHAPTERS.iter().find(|chapter| chapter.topic.eq_ignore_ascii_case(topic))
}
