//! The order service as a process of its own.

fn main() -> std::process::ExitCode {
    order::main(std::env::args_os().skip(1))
}
