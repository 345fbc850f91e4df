//! The invoice service as a process of its own.

fn main() -> std::process::ExitCode {
    invoice::main(std::env::args_os().skip(1))
}
