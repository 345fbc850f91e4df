//! The email service as a process of its own.

fn main() -> std::process::ExitCode {
    email::main(std::env::args_os().skip(1))
}
