//! The delivery service as a process of its own.

fn main() -> std::process::ExitCode {
    delivery::main(std::env::args_os().skip(1))
}
