//! The commands: data on stdout, everything else on stderr, and a failure that says why.

mod admin;
mod bench;
mod config;
mod dead_letters;
mod functions;
mod machine;
