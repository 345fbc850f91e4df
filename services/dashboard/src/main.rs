//! The dashboard service as a process of its own.

fn main() -> std::process::ExitCode {
    dashboard::main(std::env::args_os().skip(1))
}
