//! What `.env.example`, `docker-compose.yml` and the `Dockerfile` say of the programs is true.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Command, CommandFactory};

use crate::{Cli, services};

const COMPOSE: &str = include_str!("../../docker-compose.yml");
const DOCKERFILE: &str = include_str!("../../Dockerfile");
const EXAMPLE: &str = include_str!("../../.env.example");
const TOOLCHAIN: &str = include_str!("../../rust-toolchain.toml");

fn programs() -> BTreeMap<&'static str, Command> {
    BTreeMap::from([
        ("order", chassis::command::<order::Settings>(&order::DESCRIPTOR)),
        ("delivery", chassis::command::<delivery::Settings>(&delivery::DESCRIPTOR)),
        ("invoice", chassis::command::<invoice::Settings>(&invoice::DESCRIPTOR)),
        ("email", chassis::command::<email::Settings>(&email::DESCRIPTOR)),
        ("dashboard", chassis::command::<dashboard::Settings>(&dashboard::DESCRIPTOR)),
        ("waybill", Cli::command()),
    ])
}

/// The variables that a program reads and people set, each with its default.
fn settings(command: &Command) -> BTreeMap<String, Option<String>> {
    let own = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| {
        let default = arg.get_default_values().first().map(|value| value.to_str().unwrap());
        Some((arg.get_env()?.to_str()?.to_owned(), default.map(str::to_owned)))
    });
    own.chain(command.get_subcommands().flat_map(settings)).collect()
}

/// The variables that `waybill up` alone sets.
fn hidden() -> BTreeSet<String> {
    let programs = programs();
    let hidden = programs.values().flat_map(Command::get_arguments).filter(|arg| arg.is_hide_set());
    hidden.filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned())).collect()
}

/// A line of `.env.example`.
struct Line {
    name: &'static str,
    value: &'static str,
    /// Not for containers: compose sets it, or nobody.
    off: bool,
}

fn example() -> Vec<Line> {
    let line = |line: &'static str| {
        let (name, value) = line.split_once('=')?;
        let off = name.starts_with('#');
        let name = name.trim_start_matches('#');
        let is_name = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        is_name.then_some(Line { name, value: value.trim_matches('"'), off })
    };
    EXAMPLE.lines().filter_map(line).collect()
}

/// What `${NAME:-default}` says in docker-compose.yml.
fn compose_defaults() -> BTreeMap<&'static str, &'static str> {
    let inside = COMPOSE.split("${").skip(1).filter_map(|rest| rest.split_once('}'));
    inside.map(|(inside, _)| inside.split_once(":-").unwrap()).collect()
}

/// A service's lines in docker-compose.yml.
fn compose_block(service: &str) -> &'static str {
    let start = COMPOSE.find(&format!("\n  {service}:\n")).unwrap() + 3;
    let end = COMPOSE[start..].find("\n\n").unwrap();
    &COMPOSE[start..start + end]
}

#[test]
fn every_setting_is_in_the_example_and_nothing_else() {
    let read: BTreeSet<String> =
        programs().values().flat_map(settings).map(|(name, _)| name).collect();
    let used: BTreeSet<&str> =
        read.iter().map(String::as_str).chain(compose_defaults().into_keys()).collect();
    let listed: BTreeSet<&str> = example().iter().map(|line| line.name).collect();
    assert_eq!(listed, used);
    assert_eq!(listed.len(), example().len(), "a setting stands there twice");
}

#[test]
fn the_example_shows_the_values_that_hold() {
    let defaults: BTreeMap<String, Option<String>> =
        programs().values().flat_map(settings).filter(|(_, default)| default.is_some()).collect();
    for Line { name, value, .. } in example() {
        let of_program = defaults.get(name).cloned().flatten();
        let holds = compose_defaults().get(name).map(|&text| text.to_owned()).or(of_program);
        assert_eq!(value, holds.unwrap_or_default(), "{name}");
    }
}

#[test]
fn compose_gives_every_service_its_settings() {
    let off: BTreeSet<&str> =
        example().into_iter().filter(|line| line.off).map(|line| line.name).collect();
    for service in services::descriptors() {
        let block = compose_block(service.name);
        for (name, _) in settings(&programs()[service.name]) {
            let given = block.contains(&format!("\n      {name}:"));
            let elsewhere = DOCKERFILE.contains(&format!("\nENV {name}="));
            assert!(given || elsewhere, "{} does not get {name}", service.name);
            if !off.contains(&*name) {
                let passed = block.contains(&format!("\n      {name}:\n"))
                    || block.contains(&format!("\n      {name}: ${{{name}:-"));
                assert!(passed, "{} does not get {name} from .env", service.name);
            }
        }
        let login = format!("DATABASE_URL: postgres://{0}@postgres/waybill\n", service.role);
        assert!(block.contains(&login), "{} logs in as another", service.name);
        let password =
            |options: &str| format!("password-{0}:/run/secrets/{0}{options}", service.role);
        assert!(block.contains(&format!("volumes: [\"{}\"]", password(":ro"))), "{}", service.name);
        assert!(compose_block("passwords").contains(&password("\"")), "{}", service.name);
        let listens = format!("ENV HTTP_ADDR=0.0.0.0:{}\nEXPOSE {0}\n", service.port);
        assert!(DOCKERFILE.contains(&listens), "{}", service.name);
    }
}

#[test]
fn nothing_but_the_demo_has_what_breaks_it() {
    assert_eq!(hidden(), ["DEMO_CONTROL_TOKEN", "DEMO_CONTROL_URL"].map(str::to_owned).into());
    for text in [COMPOSE, DOCKERFILE, EXAMPLE] {
        assert!(!text.contains("DEMO_CONTROL"), "{text}");
    }
}

#[test]
fn what_is_published_is_published_on_loopback_alone() {
    for line in COMPOSE.lines().filter(|line| line.trim_start().starts_with("ports:")) {
        assert!(line.contains("[\"127.0.0.1:"), "{line}");
    }
}

#[test]
fn the_image_is_built_with_the_pinned_toolchain() {
    let channel = TOOLCHAIN.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap();
    let image = format!("FROM rust:{}-slim-bookworm AS rust\n", channel.trim_matches('"'));
    assert!(DOCKERFILE.contains(&image), "the Dockerfile has no line {image}");
}
